"""Kind ``pytorch``: one torch agent (what ``torchrun`` starts) per node, each with the node's processes.

Every rank is started through a line of shell that points its output at FIFOs of its own and then becomes the program. The agent's own
way (``--tee``) goes through files that grow without limit, is 0.1 s late, replaces bytes that are no UTF-8, and tears lines of two ranks
into each other when it reads a line that is not finished (``torch/distributed/elastic/multiprocessing/tail_log.py``).
"""

import os
import re

import msgspec

from gpuctl.clusters.local.kinds.command import rendezvous
from gpuctl.clusters.local.kinds.program import interpreter, script_path
from gpuctl.clusters.local.kinds.step import Reading, Start, Step, TaskContext, free_ports, private_directory

_AGENT = "import sys; sys.path = [path for path in sys.path if path]; from torch.distributed.run import main; main()"
"""As torchrun's own entry point does, and unlike ``-m``, without the working directory among the places that torch's own imports are looked
for in: a ``cuda.py`` or ``queue.py`` of the user's there would be taken for the library's."""

_INTO_FIFOS = 'd=$0/$RANK; if [ -p "$d.o" ] && [ -p "$d.e" ]; then exec "$@" >"$d.o" 2>"$d.e"; fi; exec "$@"'
_PORT_TAKEN = re.compile(rb"EADDRINUSE|address already in use", re.IGNORECASE)
_TRIES = 4


def steps(context: TaskContext) -> tuple[Step, ...]:
    """One foreground step: every node's agent."""
    return (_step(context, tries=_TRIES),)


def _step(context: TaskContext, *, tries: int) -> Step:
    spec = context.spec
    streams = private_directory(os.path.join(context.scratch, f"io{tries}"))
    port = free_ports(1)[0]
    program = spec.command or (interpreter(context), "-u", script_path(context), *spec.args)
    program = (*program, *(context.task.args or ()))
    per_node = spec.procs_per_node
    agent = (interpreter(context), "-c", _AGENT, "--no-python", "/bin/sh", "-c", _INTO_FIFOS, streams, *program)
    starts = []
    readings = []
    for node in range(spec.nodes):
        env = context.node_env(node)
        env.update(rendezvous(context, node=node, port=port))
        env["PET_NPROC_PER_NODE"] = str(per_node)
        env["PET_LOG_DIR"] = private_directory(os.path.join(context.scratch, f"agent-{node}"))
        # Read by torch as the default of --shutdown-timeout; versions that lack the option ignore the variable.
        env["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(max(1, context.plan.grace - 5))
        if per_node > 1:
            # What torchrun would choose anyway, without its eight lines of warning in every log.
            env.setdefault("OMP_NUM_THREADS", "1")
        starts.append(Start(argv=agent, env=env, cwd=context.plan.workdir, node=node, label=f"torchrun on node {node}"))
        readings += [
            Reading(path=os.path.join(streams, f"{rank}.{stream}"), rank=rank, node=node, stream=stream)
            for rank in range(node * per_node, (node + 1) * per_node)
            for stream in "oe"
        ]

    def again(said: bytes) -> tuple[Step, ...]:
        return (_step(context, tries=tries - 1),) if tries > 1 and _PORT_TAKEN.search(said) else ()

    return Step(name="torchrun", starts=tuple(starts), readings=tuple(readings), again=again)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One rank's end as its agent reported it; ``status`` is an exit code, or minus a signal's number."""

    rank: int
    status: int
    pid: int | None
    first: bool


_RANK = re.compile(rb"^\s*rank\s*:\s*(\d+)\s*\(local_rank", re.MULTILINE)
_STATUS = re.compile(rb"^\s*exitcode\s*:\s*(-?\d+)\s*\(pid:\s*(\d+)\)", re.MULTILINE)


def failures(said: bytes) -> list[Failure]:
    """The ranks an agent reported as failed, the root cause first, from the table it prints last.

    The table is that of ``ChildFailedError`` (torch/distributed/elastic/multiprocessing/errors/__init__.py): "Failures:" lists all but the
    first, "Root Cause (first observed failure):" the first.
    """
    found: dict[int, Failure] = {}
    root = said.find(b"Root Cause")
    for rank, status in zip(_RANK.finditer(said), _STATUS.finditer(said), strict=False):
        number = int(rank[1])
        first = root >= 0 and rank.start() > root
        if first or number not in found:
            found[number] = Failure(rank=number, status=int(status[1]), pid=int(status[2]), first=first)
    return sorted(found.values(), key=lambda failure: (not failure.first, failure.rank))
