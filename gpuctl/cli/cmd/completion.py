"""``gpuctl completion``: the completion script of a shell."""

import os
from typing import Annotated

import typer

from gpuctl.base.errors import InvalidInput, Problem, nearest
from gpuctl.cli.result import Result, Text
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb

SHELLS = ("bash", "zsh", "fish")
Shell = Annotated[str | None, typer.Argument(metavar="[bash|zsh|fish]", help="The shell; $SHELL without it.")]


def run(session: Session, shell: Shell = None) -> Result:
    """Print the completion script of a shell.

    pipx links the scripts by itself (bash and fish find them there). With pip
    or uv, print the script to where the shell looks:

      bash  ~/.local/share/bash-completion/completions/gpuctl
      zsh   a directory of $fpath, as _gpuctl
      fish  ~/.config/fish/completions/gpuctl.fish

    Verbs, flags and choices complete without starting Python; only names of
    jobs and the like call gpuctl, which answers from a cache.
    """
    name = shell or os.path.basename(session.env.get("SHELL", ""))
    if name not in SHELLS:
        problem = Problem(
            field="SHELL", message="no completion for it", got=repr(name), allowed=", ".join(SHELLS), nearest=nearest(name, SHELLS)
        )
        raise InvalidInput("cannot print a completion script", [problem], hint="gpuctl completion bash")
    from gpuctl.cli.generate import files

    return Text(text=files.completion(name))


VERB = Verb(run=run, examples=("gpuctl completion bash > ~/.local/share/bash-completion/completions/gpuctl",))
