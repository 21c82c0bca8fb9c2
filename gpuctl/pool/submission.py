"""From a specification to a submission: what the submitter's machine has to add before any pool sees it.

The command line and the Python face both come through :func:`prepare`, so that a job submitted either way has the same environment, the
same facts about its code, the same interpreter and the same name.
"""

import os
import secrets as randomness
from collections.abc import Callable, Mapping

import msgspec

from gpuctl.base import names
from gpuctl.base.errors import InvalidInput, Problem
from gpuctl.model.ask import Submission
from gpuctl.model.check import check_metadata
from gpuctl.model.rules import check_spec
from gpuctl.model.spec import JobSpec
from gpuctl.pool.code import describe, of_repository

InterpreterFinder = Callable[[str | None, str, Mapping[str, str]], str]
"""``--python`` or None, the working directory, the environment: the absolute path of the Python that runs the job."""

_RUNNERS = frozenset({"python", "python3", "bash", "sh", "zsh", "env", "nice", "time", "torchrun", "uv", "run", "accelerate", "launch"})
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "fish"})


def prepare(
    spec: JobSpec,
    *,
    cwd: str,
    env: Mapping[str, str],
    find_interpreter: InterpreterFinder | None,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    request_id: str | None = None,
    best_effort: bool = False,
    rerun_of: str | None = None,
) -> Submission:
    """Check the spec and add to it what only this machine knows.

    Args:
        spec: what was asked for; a relative ``workdir`` begins at ``cwd``, and none means ``cwd`` (with ``git``: the repository's root).
        cwd: an absolute directory.
        env: the submitter's environment; the job gets it without ``GPUCTL_TOKEN*``, with ``spec.env`` on top.
        find_interpreter: asked only for jobs that run Python; None where they run with the Python of an image.
        name: the base name; the script's stem (or the command's) without one.
        labels: by key.
        secrets: values by name, exactly those that ``spec.secrets`` names.
        request_id: as a person gave it; a random one without.
        best_effort: promises that cannot be kept are dropped with a note.
        rerun_of: id of the job that this one repeats.

    Raises:
        InvalidInput: ``bad-job``, every wrong field at once, in the document's spelling (``spec.gpus``, ``metadata.name``);
            ``no-such-ref``.
        GpuctlError: what ``find_interpreter`` raises.
    """
    problems = [*check_metadata(name, labels or {}), *(_in_spec(problem) for problem in check_spec(spec))]
    values = dict(secrets or {})
    problems.extend(Problem(field="spec.secrets", message="has no value", got=secret) for secret in spec.secrets if secret not in values)
    if request_id is not None and not names.is_request_id(request_id):
        allowed = "1 to 128 printable ASCII characters without spaces"
        problems.append(Problem(field="request id", message="cannot be one", got=repr(request_id), allowed=allowed))
    here = cwd if spec.git is not None else os.path.normpath(os.path.join(cwd, os.path.expanduser(spec.workdir or "")))
    workdir = spec.workdir or "" if spec.git is not None else here
    if not os.path.isdir(here):
        problems.append(Problem(field="spec.workdir", message="is no directory", got=here))
    written = {"workdir": (workdir,), "script": (spec.script or "",), "args": spec.args, "command": spec.command}
    problems.extend(
        Problem(field=f"spec.{field}", message="is no UTF-8, in which jobs are written down", got=repr(os.fsencode(word)))
        for field, words in written.items()
        for word in words
        if not _is_text(word)
    )
    if problems:
        raise InvalidInput(f"cannot submit {name or base_name(spec)}", problems, code="bad-job")
    environment = {key: value for key, value in env.items() if not key.startswith("GPUCTL_TOKEN")}
    environment.update(spec.env)
    if spec.git is not None:
        code = of_repository(spec.git, env=env, secrets=values)
    else:
        code = describe(workdir, script=spec.script, env=env)
        spec = msgspec.structs.replace(spec, workdir=workdir)
    return Submission(
        spec=spec,
        base_name=name or base_name(spec),
        request_id=request_id or randomness.token_hex(16),
        explicit_request_id=request_id is not None,
        environment=environment,
        secrets={key: values[key] for key in spec.secrets},
        labels=dict(labels or {}),
        code=code,
        interpreter=find_interpreter(spec.python, here, environment) if find_interpreter is not None and runs_python(spec) else None,
        rerun_of=rerun_of,
        best_effort=best_effort,
    )


def runs_python(spec: JobSpec) -> bool:
    """Whether gpuctl itself has to know a Python for the job: kinds that are Python, and scripts that say so by their name."""
    return spec.kind in {"pytorch", "ray"} or (spec.script is not None and spec.script.endswith((".py", ".pyc", ".pyz")))


def base_name(spec: JobSpec) -> str:
    """The name of a job that nobody named: its script's stem, else the script in its command, else its first word that tells something.

    >>> base_name(JobSpec(script="experiments/Train_v2.py"))
    'train-v2'
    >>> base_name(JobSpec(command=("python", "-u", "eval.py", "--fast")))
    'eval'
    >>> base_name(JobSpec(command=("sh", "-c", "sleep 1; echo done")))
    'sleep'
    >>> base_name(JobSpec(command=("python", "-c", "import torch")))
    'python'
    """
    if spec.script is not None and spec.script != "-":
        return names.suggestion(_stem(spec.script))
    if spec.stdin_script is not None:
        return "stdin"
    # A whole shell program (`sh -c "sleep 1; ..."`) is known by its first word; other languages begin with `import`.
    command = spec.command
    if "-c" in command and not any(_stem(word) in _SHELLS for word in command[: command.index("-c")]):
        command = command[: command.index("-c")]
    words = [first for word in command if not word.startswith("-") for first in word.split()[:1] if "=" not in first]
    words = [word for word in words if word.endswith((".py", ".sh"))] or words
    telling = [word for word in words if _stem(word) not in _RUNNERS and names.suggestion(_stem(word)) != "job"]
    return names.suggestion(_stem((telling or words or ["job"])[0]))


def _is_text(word: str) -> bool:
    """Whether it came as text; what the system handed over as other bytes has surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path.rstrip("/")))[0]


def _in_spec(problem: Problem) -> Problem:
    return Problem(
        field=f"spec.{problem.field}", message=problem.message, got=problem.got, allowed=problem.allowed, nearest=problem.nearest
    )
