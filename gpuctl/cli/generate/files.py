"""Which generated file holds what; writing them, and telling which are out of date."""

import json
from pathlib import Path

from gpuctl.base.errors import NotFoundError, nearest
from gpuctl.cli.generate import completion_bash, completion_fish, completion_zsh, man, reference, schema, walk

_SHELLS = {
    "bash": ("gpuctl.bash", completion_bash.script),
    "zsh": ("_gpuctl", completion_zsh.script),
    "fish": ("gpuctl.fish", completion_fish.script),
}
SHELLS = tuple(_SHELLS)
"""The shells there are scripts for."""


def completion(shell: str) -> str:
    """The completion script of a shell, made from the commands as they are installed.

    Raises:
        NotFoundError: there is none for that shell.
    """
    if shell not in _SHELLS:
        close = nearest(shell, SHELLS)
        raise NotFoundError(
            f"there is no completion script for {shell}",
            code="no-such-shell",
            cause=f"known shells: {', '.join(SHELLS)}",
            hint=f"gpuctl completion {close or 'bash'}",
        )
    return _SHELLS[shell][1](walk.program())


def everything() -> dict[str, str]:
    """Path below the root of a checkout to the file's text. Imports every verb."""
    program = walk.program()
    made = {f"completions/{name}": script(program) for name, script in _SHELLS.values()}
    made["docs/man/gpuctl.1"] = man.page(program)
    made |= {f"docs/reference/{name}": text for name, text in reference.pages(program).items()}
    for name, body in (("job-file", schema.job_file()), ("outputs", schema.outputs()), ("schedule", schema.schedule_file())):
        made[f"docs/reference/schema/{name}.json"] = json.dumps(body, indent=2) + "\n"
    return made


def stale(root: Path) -> dict[str, str]:
    """What below ``root`` is missing or holds something else: path to the text it should hold."""
    return {path: text for path, text in everything().items() if _held(root / path) != text}


def write(root: Path) -> list[str]:
    """Write what is stale; its paths."""
    changed = stale(root)
    for path, text in changed.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, "utf-8")
    return list(changed)


def _held(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None
