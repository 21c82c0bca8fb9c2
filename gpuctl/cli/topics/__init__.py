"""The texts of ``gpuctl help TOPIC``: written for 80 columns, plain, made of the same tables that the program itself uses."""

from collections.abc import Callable

TOPICS: dict[str, tuple[str, str]] = {
    "slurm": ("gpuctl.cli.topics.slurm", "the commands and flags of Slurm, translated"),
    "exit-codes": ("gpuctl.cli.topics.exit_codes", "what every exit code means"),
    "formats": ("gpuctl.cli.topics.formats", "the formats of -o, with examples"),
    "environment": ("gpuctl.cli.topics.environment", "variables that gpuctl reads, and those it sets for jobs"),
}
"""Topic to module (with a ``text()``) and one line about it."""


def load(topic: str) -> str:
    """The text of a topic of :data:`TOPICS`."""
    import importlib

    text: Callable[[], str] = importlib.import_module(TOPICS[topic][0]).text
    return text()
