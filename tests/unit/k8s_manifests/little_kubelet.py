"""Plays kubelet for one pod as processes of this machine: Secrets become files, variables are expanded, containers are run in order.

What is rendered is what runs: a wrong path, key, name or quote shows here without any cluster. Images, and paths outside of
``/gpuctl``, are those of this machine.
"""

import base64
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.k8s_manifests.cases import templates

ROOT = "/gpuctl"


class LittleKubelet:
    """The pod of one index of the last object's first (or ``which``) template.

    Args:
        objects: what ``render`` gave.
        directory: a fresh one; the pod's file system below ``/gpuctl``.
        index: the completion index, None where the pods belong to no Indexed Job.
        shell: what ``/bin/sh`` is in the image.
        env: what the image, or an operator, sets.
        labels, annotations: what controllers have added to the pod.
    """

    def __init__(
        self,
        objects: tuple[dict[str, Any], ...],
        directory: Path,
        *,
        index: int | None = 0,
        which: int = 0,
        shell: str = "/bin/sh",
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        self.template = templates(objects[-1])[which]
        self.directory = directory
        self._secrets = {
            each["metadata"]["name"]: {key: base64.b64decode(value) for key, value in each["data"].items()}
            for each in objects
            if each["kind"] == "Secret"
        }
        self._index = index
        self._shell = shell
        self._added = {"labels": dict(labels or {}), "annotations": dict(annotations or {})}
        self._image = {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}", "HOME": str(directory), **(env or {})}
        self._running: list[subprocess.Popen[bytes]] = []
        self.termination = directory / "termination-log"
        self._mount()

    def run(self, *, timeout: float = 30) -> tuple[int, str]:
        """Init containers, then the main one: exit status and log of the last that ran."""
        for each in self.template["spec"].get("initContainers", []):
            status, log = self._ended(self._start(each), timeout)
            if status:
                return status, log
        return self._ended(self.start(), timeout)

    def start(self) -> subprocess.Popen[bytes]:
        """Only the main container, running."""
        return self._start(self.template["spec"]["containers"][0])

    def start_first(self) -> subprocess.Popen[bytes]:
        """Only the first of the init containers, running."""
        return self._start(self.template["spec"]["initContainers"][0])

    def run_first(self, *, timeout: float = 30) -> tuple[int, str]:
        """Only the first of the init containers, to its end: exit status and log."""
        return self._ended(self.start_first(), timeout)

    def run_to_the_end_of_its_first(self, *, timeout: float = 30) -> tuple[int, str]:
        """The main container until its first process ends, whatever else still runs in it: exit status and log until then."""
        process = self.start()
        process.wait(timeout)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        return process.returncode, (process.stdout.read() or b"").decode()

    def close(self) -> None:
        """End what still runs."""
        for each in self._running:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(each.pid, number)
                except ProcessLookupError:
                    break
                time.sleep(0.1)
            each.communicate()

    def _mount(self) -> None:
        for each in self.template["spec"]["volumes"]:
            spec = self.template["spec"]
            mounts = [mount for one in (*spec["containers"], *spec["initContainers"]) for mount in one["volumeMounts"]]
            paths = {mount["mountPath"] for mount in mounts if mount["name"] == each["name"]}
            path = next((path for path in sorted(paths) if path.startswith(ROOT)), None)
            if path is None:
                continue
            target = self.directory / path.removeprefix(ROOT + "/")
            target.mkdir(parents=True)
            sources = [source["secret"] for source in each.get("projected", {}).get("sources", [])]
            sources += [each["secret"]] if "secret" in each else []
            for source in sources:
                content = self._secrets[source.get("name") or source["secretName"]]
                for item in source["items"]:
                    (target / item["path"]).write_bytes(content[item["key"]])
            if sources:
                (target / "..data").symlink_to(".")

    def _start(self, container: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        env = dict(self._image)
        if self._index is not None:
            env["JOB_COMPLETION_INDEX"] = str(self._index)
        env["GPUCTL_POD_BASE"] = str(self.directory)
        env["GPUCTL_POD_TERMINATION_LOG"] = str(self.termination)
        known: dict[str, str] = {}
        for each in container.get("env", []):
            known[each["name"]] = self._meaning(each, known)
        command = [expanded(word, known) for word in container["command"]]
        assert command[0] == "/bin/sh"
        command[0] = self._shell
        command[1:] = [
            word.replace(f"{ROOT}/in/", f"{self.directory}/in/").replace(f"{ROOT}/files/", f"{self.directory}/files/")
            for word in command[1:]
        ]
        made = subprocess.Popen(
            command,
            env=env | known,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._running.append(made)
        return made

    def _meaning(self, variable: Mapping[str, Any], known: Mapping[str, str]) -> str:
        if "value" in variable:
            return expanded(variable["value"], known)
        source = variable["valueFrom"]
        if "secretKeyRef" in source:
            return self._secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]].decode()
        path = source["fieldRef"]["fieldPath"]
        if "job-completion-index" in path:
            return str(self._index)
        match = re.match(r"metadata\.(labels|annotations)\['(.+)'\]\Z", path)
        assert match, path
        return self._added[match[1]].get(match[2], "")

    def _ended(self, process: subprocess.Popen[bytes], timeout: float) -> tuple[int, str]:
        log, _ = process.communicate(timeout=timeout)
        return process.returncode, log.decode()


def expanded(text: str, known: Mapping[str, str]) -> str:
    """What the kubelet makes of ``text``, step by step as its own expansion does it (third_party/forked/golang/expansion/expand.go)."""
    result = []
    cursor = 0
    while cursor < len(text):
        if text[cursor] != "$" or cursor + 1 == len(text):
            result.append(text[cursor])
            cursor += 1
            continue
        following = text[cursor + 1]
        end = text.find(")", cursor)
        if following == "$":
            result.append("$")
            cursor += 2
        elif following == "(" and end > 0:
            name = text[cursor + 2 : end]
            result.append(known.get(name, f"$({name})"))
            cursor = end + 1
        else:
            result.append(text[cursor : cursor + 2])
            cursor += 2
    return "".join(result)
