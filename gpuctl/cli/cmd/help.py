"""``gpuctl help``: the overview, a verb's help, or a topic."""

from typing import Annotated

import typer

from gpuctl.base.errors import NotFoundError, nearest
from gpuctl.cli import commands, topics
from gpuctl.cli.result import Result, Text
from gpuctl.cli.session import Session
from gpuctl.cli.verb import Verb

Words = Annotated[list[str] | None, typer.Argument(metavar="[VERB|TOPIC]", help="A verb (volumes create) or a topic.")]


def run(session: Session, words: Words = None) -> Result:
    """Explain a verb or a topic.

    Topics: slurm (its commands and flags, translated), exit-codes, formats,
    environment.
    """
    root = commands.root()
    context = root.make_context("gpuctl", [], obj=session, resilient_parsing=True)
    if not words:
        listed = "".join(f"  {name:<13} {about}\n" for name, (_, about) in topics.TOPICS.items())
        return Text(text=f"{context.get_help()}\n\nTopics (gpuctl help TOPIC):\n{listed}")
    if words[0] in topics.TOPICS:
        return Text(text=topics.load(words[0]))
    if words[0] not in commands.TABLE:
        known = [*topics.TOPICS, *(name for name, entry in commands.TABLE.items() if not entry.hidden)]
        close = nearest(words[0], known)
        raise NotFoundError(
            f"no verb and no topic is called {words[0]}",
            code="no-such-topic",
            hint=f"gpuctl help {close}" if close else "gpuctl help",
        )
    command = commands.TABLE[words[0]].load(words[0])
    for word in words[1:]:
        inner = getattr(command, "commands", {}).get(word)
        if inner is None:
            raise NotFoundError(
                f"{' '.join(words[: words.index(word)])} has no verb {word}", code="no-such-topic", hint=f"gpuctl help {words[0]}"
            )
        context = command.make_context(command.name, [], parent=context, resilient_parsing=True)
        command = inner
    inner_context = command.make_context(command.name, [], parent=context, resilient_parsing=True)
    return Text(text=inner_context.get_help() + "\n")


VERB = Verb(run=run)
