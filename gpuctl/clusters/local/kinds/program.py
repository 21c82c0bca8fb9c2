"""Which program runs a job's script or command."""

import os
import stat

from gpuctl.clusters.local.kinds.step import CannotStart, TaskContext


def entrypoint(context: TaskContext) -> tuple[str, ...]:
    """The whole argv of the job's own program: its command, or its script with what runs it.

    Raises:
        CannotStart: there is no such script, or nothing can run it.
    """
    spec = context.spec
    if spec.command:
        return (*spec.command, *(context.task.args or ()))
    return (*runner(context), *context.arguments)


def runner(context: TaskContext) -> tuple[str, ...]:
    """The script preceded by what runs it: the job's interpreter for Python, else its ``#!`` line, else ``/bin/sh``.

    A script needs no executable bit (batch systems copy scripts, people rely on it); anything else does.
    """
    script = script_path(context)
    if is_python(context, script):
        return (interpreter(context), script)
    path = os.path.join(context.plan.workdir, script)
    head = _head(path)
    if head.startswith(b"#!"):
        words = os.fsdecode(head[2:].split(b"\n", 1)[0]).strip().split(None, 1)
        if not words:
            raise CannotStart(f"{script}: its #! line names no interpreter", status=126)
        if words[0].startswith("/") and not os.path.exists(words[0]):
            raise CannotStart(f"{script}: bad interpreter: {words[0]}: no such file", status=127)
        return (*words, path)
    if b"\0" in head:
        if not os.access(path, os.X_OK):
            raise CannotStart(f"{script}: not executable (chmod +x {script})", status=126)
        return (path,)
    return ("/bin/sh", path)


def is_python(context: TaskContext, script: str) -> bool:
    """Whether the script is run by the job's Python interpreter."""
    return script.endswith((".py", ".pyc", ".pyz")) or context.spec.kind == "pytorch"


def script_path(context: TaskContext) -> str:
    """The script as the program will see it: as it was given, or the file that holds what came through stdin.

    Raises:
        CannotStart: the job names neither a script nor a command.
    """
    spec = context.spec
    if spec.stdin_script is not None:
        python = spec.kind in {"pytorch", "ray"}
        path = os.path.join(context.scratch, "script.py" if python else "script")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o700)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(spec.stdin_script)
        return path
    if spec.script is None:
        raise CannotStart("the job names neither a script nor a command", status=127)
    path = os.path.join(context.plan.workdir, spec.script)
    try:
        if stat.S_ISDIR(os.stat(path).st_mode) and not spec.script.endswith(".pyz") and not _is_package(path):
            raise CannotStart(f"{spec.script}: is a directory", status=126)
    except FileNotFoundError:
        raise CannotStart(f"{spec.script}: no such file in {context.plan.workdir}", status=127) from None
    except OSError as error:
        raise CannotStart(f"{spec.script}: {error.strerror}", status=126) from None
    return spec.script


def interpreter(context: TaskContext) -> str:
    """The job's Python interpreter.

    Raises:
        CannotStart: none was found when the job was submitted.
    """
    found = context.plan.interpreter or context.spec.python
    if not found:
        raise CannotStart("no Python interpreter was found for this job", status=127, code="interpreter-missing")
    if "/" in found and not os.access(os.path.join(context.plan.workdir, found), os.X_OK):
        text = f"the interpreter {found} is not there any more, or may not be run"
        raise CannotStart(text, status=127, code="interpreter-missing", data={"interpreter": found})
    return found


def _is_package(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "__main__.py"))


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(512)
    except OSError as error:
        status = 127 if isinstance(error, FileNotFoundError) else 126
        raise CannotStart(f"{path}: {error.strerror}", status=status) from None
