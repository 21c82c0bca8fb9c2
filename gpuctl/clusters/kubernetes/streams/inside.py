"""What the processes and the GPUs of one pod do now, seen from inside: ``/proc`` twice, a moment apart, and ``nvidia-smi``.

POSIX sh and ``/proc`` alone, for images have nothing else in common; a rank is told by the variables that its processes inherit.
"""

import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from gpuctl.base.errors import GpuctlError, UnavailableError
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api
from gpuctl.kube.remotecommand import exec_

WITHIN_S = 12.0
"""Seconds that one pod may take to tell."""

_LOOK = r"""
nl='
'
look() {
  read -r up _ </proc/uptime && printf 'u %s\n' "$up"
  for d in /proc/[0-9]*; do
    e=$nl$(tr '\000\012' '\012 ' 2>/dev/null <"$d/environ")$nl || continue
    case $e in *"${nl}GPUCTL_EXEC="*|*"${nl}GPUCTL_POD_ROLE="*) continue ;; *"${nl}GPUCTL_JOB="*) ;; *) continue ;; esac
    rank=-
    case $e in *"${nl}RANK="*) rank=${e#*"${nl}RANK="} rank=${rank%%"$nl"*} ;; esac
    read -r stat <"$d/stat" || continue
    pid=${d#/proc/}
    set -- ${stat##*) }
    printf 'p %s %s %s %s\n' "${rank:--}" "$pid" "$((${12} + ${13}))" "${22}"
  done 2>/dev/null
}
printf 'k %s %s\n' "$(getconf CLK_TCK 2>/dev/null || echo 100)" "$(getconf PAGESIZE 2>/dev/null || echo 4096)"
export GPUCTL_EXEC=top
look
sleep 0.3 2>/dev/null || sleep 1
look
[ -n "$1" ] || exit 0
if command -v nvidia-smi >/dev/null 2>&1; then
  nvidia-smi --query-gpu=index,utilization.gpu,memory.used,memory.total --format=csv,noheader,nounits 2>&1 | sed 's/^/g /'
else
  echo 'n the image has no nvidia-smi'
fi
"""
_GPU = re.compile(r"(?P<index>\d+), *(?P<busy>[^,]+), *(?P<used>[^,]+), *(?P<total>[^,]+)\Z")


class Rank(NamedTuple):
    """The processes of one rank; ``rank`` None: those that are no rank's. CPU in percent of one core, memory in bytes."""

    rank: int | None
    cpu: float
    memory: int
    processes: int


class Gpu(NamedTuple):
    """One GPU as the container numbers it; utilisation in percent, memory in bytes. None: the driver does not tell."""

    number: int
    busy: int | None
    used: int | None
    total: int | None


class Inside(NamedTuple):
    """One pod. ``why``: the reason why its GPUs could not be read, empty where they were."""

    ranks: tuple[Rank, ...]
    gpus: tuple[Gpu, ...]
    why: str = ""


def look(api: Api, pod: PodTarget, *, gpus: bool) -> Inside:
    """Look into a pod. ``gpus``: it holds some.

    Raises:
        ApiFailure: exec is refused, or the pod is gone.
        UnavailableError: ``pod-silent``, it did not tell in time.
        GpuctlError: ``not-looked-into``, the image lacks a shell or ``/proc`` cannot be read.
    """
    out, err = bytearray(), bytearray()
    ends = time.monotonic() + WITHIN_S
    argv = ["/bin/sh", "-c", _LOOK, "gpuctl-top", "gpus" if gpus else ""]
    with exec_(api, pod.name, argv, namespace=pod.namespace, container=pod.container) as running:
        while (left := ends - time.monotonic()) > 0:
            output = running.read(left)
            if output is not None:
                (out if output.stream == "stdout" else err).extend(output.data)
            elif running.exit_code is not None:
                break
        else:
            raise UnavailableError(f"{pod.place} did not tell in {WITHIN_S:g} s what it does", code="pod-silent")
        code = running.exit_code
    if code != 0:
        said = err.decode(errors="replace").strip().splitlines()
        raise GpuctlError(f"cannot look into {pod.place}", code="not-looked-into", cause=said[-1] if said else f"sh ended with {code}")
    return read(out.decode(errors="replace"), gpus=gpus)


def read(text: str, *, gpus: bool) -> Inside:
    """What :func:`look` was told."""
    ticks, page = 100, 4096
    ups: list[float] = []
    looks: list[dict[tuple[int | None, int], tuple[int, int]]] = []
    seen: list[Gpu] = []
    why = ""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        words = rest.split()
        if kind == "k" and len(words) == 2 and _are_numbers(words):
            ticks, page = int(words[0]), int(words[1])
        elif kind == "u" and words and _are_numbers(words[0].split(".")):
            ups.append(float(words[0]))
            looks.append({})
        elif kind == "p" and looks and len(words) == 4 and _are_numbers(words[1:]):
            rank = int(words[0]) if words[0].isdigit() else None
            looks[-1][rank, int(words[1])] = int(words[2]), int(words[3])
        elif kind == "g":
            match = _GPU.match(rest.strip())
            if match:
                seen.append(Gpu(int(match["index"]), _number(match["busy"]), _mebibytes(match["used"]), _mebibytes(match["total"])))
            else:
                why = why or rest.strip()
        elif kind == "n":
            why = rest
    ranks: tuple[Rank, ...] = ()
    if len(looks) == 2:
        seconds = max(ups[1] - ups[0], 0.01)
        by_rank: dict[int | None, list[tuple[float, int]]] = {}
        for key, (spent, resident) in looks[1].items():
            before = looks[0].get(key, (spent, 0))[0]
            by_rank.setdefault(key[0], []).append((100 * max(0, spent - before) / ticks / seconds, resident * page))
        ranks = tuple(
            Rank(rank, round(sum(cpu for cpu, _ in found), 1), sum(memory for _, memory in found), len(found))
            for rank, found in sorted(by_rank.items(), key=lambda entry: -1 if entry[0] is None else entry[0])
        )
    if gpus and not seen and not why:
        why = "nvidia-smi shows no GPU"
    return Inside(ranks, tuple(seen), "" if seen else f"nvidia-smi: {why}" if why and "nvidia-smi" not in why else why)


def _are_numbers(words: Sequence[str]) -> bool:
    return all(word.isdigit() for word in words)


def _number(text: str) -> int | None:
    """A whole number; None for ``[N/A]`` and its like."""
    stripped = text.strip()
    return int(stripped) if stripped.isdigit() else None


def _mebibytes(text: str) -> int | None:
    count = _number(text)
    return count << 20 if count is not None else None
