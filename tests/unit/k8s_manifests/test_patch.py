"""Strategic merge: as kubectl does it, wherever kubectl is there to compare with."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpuctl.base.errors import InvalidInput
from gpuctl.clusters.kubernetes.manifests.given import as_template
from gpuctl.clusters.kubernetes.manifests.patch import merge

POD = yaml.safe_load("""
metadata: {labels: {app: x, keep: 'yes'}, finalizers: [a, b]}
spec:
  restartPolicy: Never
  nodeSelector: {tier: reserved}
  imagePullSecrets: [{name: one}]
  hostAliases: [{ip: 10.0.0.1, hostnames: [a]}]
  securityContext: {runAsUser: 0}
  containers:
  - name: main
    image: one
    command: [a, b]
    env: [{name: LR, value: '1'}, {name: KEY, valueFrom: {secretKeyRef: {name: s, key: k}}}]
    ports: [{containerPort: 80, name: http}]
    resources: {limits: {cpu: '1', memory: 1Gi}}
    volumeMounts: [{name: shm, mountPath: /dev/shm}, {name: work, mountPath: /work}]
  - {name: side, image: two}
  initContainers: [{name: code, image: one}]
  volumes: [{name: shm, emptyDir: {medium: Memory}}, {name: work, emptyDir: {}}]
""")

PATCHES = {
    "scalar": "spec: {restartPolicy: Always}",
    "null removes": "spec: {restartPolicy: null, nodeSelector: {tier: null, zone: b}}",
    "new mapping": "metadata: {annotations: {a: b}}",
    "container by name": "spec: {containers: [{name: main, image: three}]}",
    "new container": "spec: {containers: [{name: third, image: x}]}",
    "several new containers": "spec: {containers: [{name: third, image: x}, {name: side, image: y}, {name: fourth, image: z}]}",
    "delete container": "spec: {containers: [{name: side, $patch: delete}]}",
    "replace containers": "spec: {containers: [{name: only, image: x}, {$patch: replace}]}",
    "list without key": "spec: {containers: [{name: main, command: [c]}]}",
    "env": "spec: {containers: [{name: main, env: [{name: LR, value: '2'}, {name: NCCL_DEBUG, value: INFO}]}]}",
    "env new meaning": "spec: {containers: [{name: main, env: [{name: KEY, value: plain, valueFrom: null}]}]}",
    "ports": "spec: {containers: [{name: main, ports: [{containerPort: 80, name: web}, {containerPort: 81}]}]}",
    "resources": "spec: {containers: [{name: main, resources: {limits: {rdma/ib: '1', memory: null}}}]}",
    "mounts by path": "spec: {containers: [{name: main, volumeMounts: [{name: big, mountPath: /dev/shm}, {name: new, mountPath: /n}]}]}",
    "volume changes inside": "spec: {volumes: [{name: shm, emptyDir: {sizeLimit: 1Gi}}]}",
    "volume retains": "spec: {volumes: [{name: shm, hostPath: {path: /x}, $retainKeys: [name, hostPath]}]}",
    "new volume": "spec: {volumes: [{name: rdma, hostPath: {path: /dev/infiniband}}]}",
    "pull secrets": "spec: {imagePullSecrets: [{name: two}, {name: one}]}",
    "host aliases": "spec: {hostAliases: [{ip: 10.0.0.1, hostnames: [b]}, {ip: 10.0.0.2, hostnames: [c]}]}",
    "init container": "spec: {initContainers: [{name: code, env: [{name: A, value: b}]}, {name: tune, image: x}]}",
    "replace mapping": "spec: {securityContext: {$patch: replace, fsGroup: 5}}",
    "finalizers": "metadata: {finalizers: [c, a]}",
    "delete finalizer": "metadata: {$deleteFromPrimitiveList/finalizers: [a]}",
    "security": "spec: {hostNetwork: true, containers: [{name: main, securityContext: {capabilities: {add: [IPC_LOCK]}}}]}",
    "order": "spec: {containers: [{name: third, image: x}], $setElementOrder/containers: [{name: side}, {name: third}, {name: main}]}",
}


def by_kubectl(original: dict[str, Any], patch: str, directory: Path) -> dict[str, Any]:
    """The template after ``kubectl patch --local --type strategic`` of a PodTemplate that holds it."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl on PATH")
    whole = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": original}
    (directory / "pod.json").write_text(json.dumps(whole))
    text = json.dumps({"template": yaml.safe_load(patch)})
    command = ["kubectl", "patch", "--local", "--type", "strategic", "-f", str(directory / "pod.json"), "-p", text, "-o", "json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(directory)}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["template"]
    return found


@pytest.mark.parametrize("name", PATCHES)
def test_a_patch_does_what_kubectl_does(name: str, tmp_path: Path) -> None:
    before = json.dumps(POD)
    assert without_noise(merge(POD, yaml.safe_load(PATCHES[name]))) == without_noise(by_kubectl(POD, PATCHES[name], tmp_path))
    assert json.dumps(POD) == before


def without_noise(value: Any) -> Any:
    """Without what encoding adds: empty fields that mean nothing (``creationTimestamp: null``, ``resources: {}``)."""
    if isinstance(value, dict):
        cleaned = {key: without_noise(each) for key, each in value.items()}
        return {key: each for key, each in cleaned.items() if each is not None and not (each == {} and key in ("resources", "metadata"))}
    return [without_noise(each) for each in value] if isinstance(value, list) else value


def test_a_volume_that_gets_another_source_loses_the_one_it_had() -> None:
    patched = merge(POD, {"spec": {"volumes": [{"name": "shm", "hostPath": {"path": "/x"}}]}})
    assert patched["spec"]["volumes"][0 if patched["spec"]["volumes"][0]["name"] == "shm" else 1] == {
        "name": "shm",
        "hostPath": {"path": "/x"},
    }


def test_tolerations_are_added_to_those_that_are_there() -> None:
    gpu = {"key": "nvidia.com/gpu", "operator": "Exists"}
    mine = {"key": "team", "operator": "Exists"}
    patched = merge({"spec": {"tolerations": [gpu]}}, {"spec": {"tolerations": [mine, gpu]}})
    assert patched["spec"]["tolerations"] == [gpu, mine]


@pytest.mark.parametrize(
    ("patch", "field"),
    [
        ({"spec": {"containers": [{"image": "x"}]}}, "spec.containers[0]"),
        ({"spec": {"containers": ["x"]}}, "spec.containers[0]"),
        ({"spec": {"restartPolicy": {"a": 1}}}, "spec.restartPolicy"),
        ({"spec": {"containers": {"name": "main"}}}, "spec.containers"),
        ({"spec": {"nodeSelector": ["a"]}}, "spec.nodeSelector"),
    ],
)
def test_a_patch_of_the_wrong_shape_names_the_field(patch: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        merge(POD, patch)
    assert [problem.field for problem in caught.value.problems] == [field]
    assert caught.value.code == "bad-pod-patch"


def test_a_patch_may_be_a_whole_pod() -> None:
    assert as_template({"apiVersion": "v1", "kind": "Pod", "spec": {"hostIPC": True}}, "pod.yaml") == {"spec": {"hostIPC": True}}
    assert as_template(None, "pod.yaml") == {}
    with pytest.raises(InvalidInput) as caught:
        as_template({"hostNetwork": True}, "pod.yaml")
    assert caught.value.problems[0].nearest == "spec.hostNetwork"
    with pytest.raises(InvalidInput):
        as_template(["a"], "pod.yaml")
