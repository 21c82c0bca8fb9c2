"""Every object that is rendered is one that a real API server would create, with the operators' real definitions."""

from typing import Any

import pytest

from gpuctl.base.errors import GpuctlError
from gpuctl.kube.resources import Resource
from tests.integration.control_plane import ControlPlane
from tests.unit.k8s_manifests.cases import CASES, rendered, templates

NAMESPACE = "lab"


@pytest.fixture(scope="module")
def plane(alpha: ControlPlane) -> ControlPlane:
    """The control plane with the definitions, the namespace and the priority classes of the cases."""
    alpha.install_crds()
    alpha.namespace(NAMESPACE)
    for name, value in (("normal", "0"), ("urgent", "100")):
        alpha.kubectl("create", "priorityclass", name, f"--value={value}", ok=False)
    return alpha


def dry_run(plane: ControlPlane, *objects: dict[str, Any]) -> list[str]:
    """What the API server says against the objects, unknown fields included; empty when it would take them all."""
    api = plane.api(namespace=NAMESPACE)
    said = []
    for each in objects:
        group, _, version = each["apiVersion"].rpartition("/")
        kind = each["kind"]
        path = Resource(group, version, f"{kind.lower()}s", kind).path(NAMESPACE)
        try:
            api.create(path, each, dict[str, Any], dry_run=True, params={"fieldValidation": "Strict"})
        except GpuctlError as error:
            said.append(f"{kind} {each['metadata']['name']}: {error.message} ({error.cause})")
    return said


@pytest.mark.parametrize("case", CASES)
def test_a_real_api_server_takes_every_object(case: str, plane: ControlPlane) -> None:
    spec, engine, changes = CASES[case]
    objects = rendered(spec, engine, **changes)
    # Operators' definitions only know the shape of a pod; as PodTemplates the core API judges their content, too.
    pods = [
        {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": f"pods-{index}", "namespace": NAMESPACE}, "template": each}
        for index, each in enumerate(templates(objects[-1]))
    ]
    assert dry_run(plane, *objects, *pods, *_inner_jobs(objects[-1])) == []
    if engine.value != "trainjob":
        assert pods


def test_the_dry_run_can_fail(plane: ControlPlane) -> None:
    spec, engine, changes = CASES["pytorch-jobset"]
    objects = rendered(spec, engine, **changes)
    objects[-1]["spec"]["network"]["enableDnsHostnames"] = True
    assert "enableDnsHostnames" in "".join(dry_run(plane, *objects))


def _inner_jobs(workload: dict[str, Any]) -> list[dict[str, Any]]:
    """The Jobs that a JobSet would make."""
    replicated = workload["spec"].get("replicatedJobs", [])
    return [
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": each["name"], "namespace": NAMESPACE},
            "spec": each["template"]["spec"],
        }
        for each in replicated
    ]
