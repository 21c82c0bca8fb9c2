"""Commands on a full cluster beside kubectl in the same run: ``jobs``, ``nodes``, ``submit``; and placement over many nodes.

    GPUCTL_PERF_PODS=10000 python -m tests.perf kube_commands

Needs a control plane's binaries (see tests/integration/control_plane.py) and kubectl; without them only placement is measured. Everything
takes turns, and medians are told: of wall time, of processor time, and the most memory. Ratios are to the peer of the same rounds.
"""

import base64
import dataclasses
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml

from gpuctl.policy import placement
from tests.integration.control_plane import ControlPlane, missing
from tests.perf import kube_world
from tests.perf.kube_list import Taken, taken
from tests.perf.measure import GPUCTL, PASS, home, line, run, title

COUNT = int(os.environ.get("GPUCTL_PERF_PODS", "10000"))
ROUNDS = int(os.environ.get("GPUCTL_PERF_ROUNDS", "5"))
NAMES = ("a", "b", "c", "d")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """A command that is measured, beside a peer that is (``PEER`` or another arm's name)."""

    name: str
    argv: Sequence[str]
    peer: str = ""
    wanted: str = ""
    before: Callable[[], None] = lambda: None


def main() -> None:
    """Fill a control plane, then measure."""
    place()
    title(f"commands on a cluster of {COUNT} pods, in turn ({ROUNDS} rounds)")
    reason = missing() or (None if shutil.which("kubectl") else "no kubectl on PATH")
    if reason:
        line(f"not measured: {reason}")
        return
    with home() as env:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ.update(env)
        plane = ControlPlane("perf", Path(env["HOME"]) / "plane")
        try:
            plane.up(controllers=False)
            began = time.monotonic()
            kube_world.fill(plane, pods=COUNT, few=NAMES)
            line(f"filled in {time.monotonic() - began:.0f} s")
            _commands(plane, env | plane.env())
        finally:
            plane.down()


def _commands(plane: ControlPlane, env: dict[str, str]) -> None:
    common = f"ctx=perf,kubeconfig={plane.kubeconfig},engine=job"
    run(env, "profile", "add", "full", "--cluster", f"name=full,{common}", "--use")
    for name in NAMES:
        run(env, "profile", "add", name, "--cluster", f"name={name},namespace={name},{common}")
    every = [word for name in NAMES for word in ("--cluster", f"name={name},namespace={name},{common}")]
    run(env, "profile", "add", "every", *every)
    line("few jobs", "wall", "cpu", "memory", "ratio", "cpu ratio")
    few = [Arm(name="python -c pass", argv=PASS)]
    few += [Arm(name=f"jobs, cluster {name}", argv=(GPUCTL, "jobs", "--profile", name), peer=PASS[1], wanted="of 22") for name in NAMES]
    few = [dataclasses.replace(arm, peer="python -c pass") if arm.peer else arm for arm in few]
    few.append(Arm(name="jobs, all four", argv=(GPUCTL, "jobs", "--profile", "every"), peer="slowest cluster", wanted="of 1.3"))
    _told(few, _turns(few, env))
    line("many jobs", "wall", "cpu", "memory", "ratio", "cpu ratio", "mem ratio")
    pods = "kubectl get pods"
    many = [
        Arm(name=pods, argv=("kubectl", "get", "pods")),
        Arm(name="jobs", argv=(GPUCTL, "jobs"), peer=pods, wanted="of 0.25, 0.2"),
        Arm(name="jobs -u all", argv=(GPUCTL, "jobs", "-u", "all"), peer=pods, wanted="of 0.25, 0.2"),
        Arm(name="nodes", argv=(GPUCTL, "nodes"), peer=pods, wanted="of 0.4"),
    ]
    _told(many, _turns(many, env))
    line("one job", "wall", "cpu", "memory", "ratio", "cpu ratio")
    _told(*_submits(plane, env))


def _submits(plane: ControlPlane, env: dict[str, str]) -> tuple[list[Arm], dict[str, list[Taken]]]:
    """``submit`` beside ``kubectl apply`` of what it creates."""
    work = Path(env["HOME"]) / "work"
    work.mkdir()
    env = env | {"HOME": str(work)}  # where it is submitted from, that is: with all that is there
    (work / "train.py").write_text("print('hello')\n" * 200, "utf-8")
    ask = ("-j", "1x1", "--image", "registry.example/team/pytorch:2.9", "--profile", "a", "train.py")
    objects = work.parent / "objects.yaml"
    rendered = list(yaml.safe_load_all(run(env, "submit", "--render", *ask)))
    for each in rendered:
        if each["kind"] == "Secret":  # what is in it is not printed
            each["data"] = {name: base64.b64encode(os.urandom(1000)).decode() for name in each["data"]}
    objects.write_text(yaml.safe_dump_all(rendered), "utf-8")
    kubectl = ("kubectl", "-n", "a")

    def gone() -> None:
        subprocess.run([*kubectl, "delete", "-f", str(objects), "--ignore-not-found", "--wait=false"], env=env, capture_output=True)

    arms = [
        Arm(name="kubectl apply", argv=(*kubectl, "apply", "-f", str(objects)), before=gone),
        Arm(name="submit", argv=(GPUCTL, "submit", *ask), peer="kubectl apply", wanted="of 3"),
    ]
    return arms, _turns(arms, env)


def _turns(arms: Sequence[Arm], env: dict[str, str]) -> dict[str, list[Taken]]:
    found: dict[str, list[Taken]] = {arm.name: [] for arm in arms}
    for number in range(ROUNDS + 1):
        for arm in arms:
            arm.before()
            cost = taken(arm.argv, env)
            if number:  # the first round fills caches: compiled files, pages, discovery
                found[arm.name].append(cost)
    return found


def _told(arms: Sequence[Arm], costs: Mapping[str, Sequence[Taken]]) -> None:
    walls = {name: statistics.median(each.wall for each in runs) for name, runs in costs.items()}
    cpus = {name: statistics.median(each.cpu for each in runs) for name, runs in costs.items()}
    memory = {name: max(each.memory for each in runs) for name, runs in costs.items()}
    single = [name for name in walls if name.startswith("jobs, cluster")]
    for arm in arms:
        figures = [f"{walls[arm.name]:.2f} s", f"{cpus[arm.name]:.2f} s", f"{memory[arm.name]:.0f} MB"]
        if arm.peer:
            peer = max(single, key=walls.__getitem__) if arm.peer == "slowest cluster" else arm.peer
            figures += [
                f"{walls[arm.name] / walls[peer]:.2f}",
                f"{cpus[arm.name] / cpus[peer]:.2f}",
                f"{memory[arm.name] / memory[peer]:.2f}",
            ]
            figures.append(arm.wanted)
        line(arm.name, *figures)


def place() -> None:
    """Placement alone, in this process."""
    title("placement over 1,000 nodes (asked for: 20 ms)")
    nodes = kube_world.snapshot(1000)
    for what, shape in kube_world.shapes().items():
        times = []
        for _ in range(11):
            began = time.process_time()
            placement.place(shape, nodes)
            times.append(time.process_time() - began)
        line(what, f"{statistics.median(times) * 1000:.1f} ms")


if __name__ == "__main__":
    main()
