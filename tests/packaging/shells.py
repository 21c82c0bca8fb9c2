"""Drive the completion of real shells without a terminal of our own: what would Tab offer here?"""

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

_PRINT_BASH = r"""
source "$1"
shift
COMP_LINE=$1 COMP_POINT=${#1}
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_gpuctl 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}"
"""


def need(shell: str) -> str:
    """The shell's path; the test is skipped where it is not installed."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


def bash(script: Path, line: str, *, path: Path, cwd: Path) -> list[str]:
    """Candidates of bash for ``line`` with the cursor at its end, as readline would take it apart."""
    words = re.findall(r"[=:]|[^\s=:]+", line)
    if line.endswith((" ", "=", ":")):
        words.append("")
    done = subprocess.run(
        [need("bash"), "--norc", "--noprofile", "-c", _PRINT_BASH, "bash", str(script), line, *words],
        env=_environment(path),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return [each for each in done.stdout.splitlines() if each]


def fish(script: Path, line: str, *, path: Path, cwd: Path) -> list[str]:
    """Candidates of fish."""
    command = f"source {shlex.quote(str(script))}; complete -C {shlex.quote(line)}"
    done = subprocess.run(
        [need("fish"), "--no-config", "-c", command],
        env=_environment(path) | {"HOME": str(cwd)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return [each.split("\t")[0] for each in done.stdout.splitlines()]


def zsh(script: Path, line: str, *, path: Path, cwd: Path) -> list[str]:
    """Candidates of an interactive zsh on a terminal of its own: the matches that its completion system collected."""
    setup = f"""
    PS1= PROMPT_EOL_MARK= LISTMAX=0
    zstyle ':completion:*' list-prompt ''
    autoload -Uz compinit && compinit -u -d {shlex.quote(str(cwd / "zcompdump"))}
    unsetopt beep; setopt no_list_beep
    source {shlex.quote(str(script))}
    compadd() {{
        local -a seen
        local option
        for option in "$@"; do [[ $option == -[AOD] ]] && {{ builtin compadd "$@"; return }}; done
        builtin compadd -O seen "$@"
        (( $#seen )) && print -rl -- $seen >> {shlex.quote(str(cwd / "offered"))}
        builtin compadd "$@"
    }}
    ask() {{ zle complete-word; print done > {shlex.quote(str(cwd / "answered"))} }}
    zle -C complete-word complete-word _main_complete
    zle -N ask
    bindkey '^I' ask
    print ready > {shlex.quote(str(cwd / "ready"))}
    """
    for name in ("offered", "answered", "ready"):
        (cwd / name).unlink(missing_ok=True)
    (cwd / "setup.zsh").write_text(setup)
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover
        os.chdir(cwd)
        os.execve(need("zsh"), ["zsh", "-f", "-i"], _environment(path) | {"TERM": "xterm", "HOME": str(cwd)})
    try:
        os.write(terminal, b" source setup.zsh\n")
        _until(cwd / "ready", terminal)
        os.write(terminal, line.encode() + b"\t")
        _until(cwd / "answered", terminal)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    offered = cwd / "offered"
    return list(dict.fromkeys(offered.read_text().splitlines())) if offered.exists() else []


def _until(file: Path, terminal: int, *, seconds: float = 20) -> None:
    seen = b""
    end = time.monotonic() + seconds
    while not file.exists():
        if time.monotonic() > end:
            raise AssertionError(f"no {file.name} after {seconds} s; the terminal shows {seen!r}")
        if select.select([terminal], [], [], 0.02)[0]:
            seen += os.read(terminal, 4096)


def _environment(path: Path) -> dict[str, str]:
    return {"PATH": f"{path}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
