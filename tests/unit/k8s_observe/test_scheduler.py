"""The scheduler's sentences in numbers."""

import pytest

from gpuctl.clusters.kubernetes.observe.translate_scheduler import evidence, parse


def codes(message: str, *, gpu_type: str | None = None, needs: int = 8) -> dict[str, str]:
    found = evidence(message, at=None, gpu_type=gpu_type, gpu_resource="nvidia.com/gpu", needs=needs)
    return {one.code: one.text for one in found}


def test_counts_of_every_kind() -> None:
    verdict = parse(
        "0/20 nodes are available: 1 node(s) were unschedulable, 2 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, "
        "3 node(s) had untolerated taint {team: vision}, 4 Insufficient nvidia.com/gpu, 5 Insufficient cpu, "
        "6 node(s) didn't match Pod's node affinity/selector. preemption: 0/20 nodes are available: 20 Preemption is not helpful for scheduling."  # noqa: E501
    )
    assert verdict is not None
    assert verdict.total == 20
    assert verdict.insufficient == {"nvidia.com/gpu": 4, "cpu": 5}
    assert verdict.taints == {"team: vision": 3}
    assert (verdict.not_ready, verdict.cordoned, verdict.mismatched) == (2, 1, 6)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("0/4 nodes are available: 4 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/4 nodes ...", "capacity"),
        ("0/4 nodes are available: 4 Insufficient memory.", "capacity"),
        ("0/4 nodes are available: 4 node(s) had untolerated taint {team: vision}.", "taints"),
        ("0/4 nodes are available: 4 node(s) had untolerated taint(s).", "taints"),
        ("0/4 nodes are available: 4 node(s) were unschedulable.", "not-ready"),
        ("0/4 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "volume-unbound"),
        ("0/6 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found", "volume-unbound"),
        ('0/4 nodes are available: persistentvolumeclaim "data" not found.', "volume-unbound"),
        ("0/4 nodes are available: 4 node(s) had volume node affinity conflict.", "volume-unbound"),
        ("no nodes available to schedule pods", "capacity"),
        ("0/0 nodes are available: .", "capacity"),
    ],
)
def test_the_first_reason(message: str, code: str) -> None:
    assert next(iter(codes(message))) == code


def test_a_type_that_no_node_has() -> None:
    message = "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector."
    assert codes(message, gpu_type="B200") == {"no-such-gpu": "none of 4 nodes has B200"}
    assert "no-such-gpu" not in codes(message)


def test_the_sentence_says_what_else_is_in_the_way() -> None:
    message = "0/9 nodes are available: 2 node(s) had untolerated taint {team: vision}, 3 Insufficient nvidia.com/gpu, 4 node(s) didn't match Pod's node affinity/selector."  # noqa: E501
    assert codes(message)["capacity"] == "needs 8 free GPUs on one node; 3 of 9 nodes have too few, 4 of another kind, 2 closed by taints"


def test_a_missing_claim_is_named() -> None:
    (found,) = evidence(
        '0/4 nodes are available: persistentvolumeclaim "data" not found.', at=None, gpu_type=None, gpu_resource="nvidia.com/gpu", needs=1
    )
    assert found.data == {"volume": "data"}


def test_another_sentence_is_told_as_it_is() -> None:
    assert codes("running PreBind plugin: boom") == {"capacity": "running PreBind plugin: boom"}
