"""The table of verbs: enough for ``--help`` and typos without importing any of them, and the group that loads one when it is called."""

import dataclasses
import importlib
from typing import Any

from typer.core import TyperCommand

from gpuctl.cli.verb import KnowingGroup, Noun, Verb


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row: the module that names ``VERB``, one line of help, and the heading it stands under."""

    module: str
    help: str
    panel: str
    hidden: bool = False

    def load(self, name: str) -> Any:
        """Import the module and build the verb's parser."""
        verb: Verb | Noun = importlib.import_module(self.module).VERB
        return verb.command(name)


_RUN, _LOOK, _ACT, _POOL, _PLATFORM, _SET = "Run", "Look", "Act", "Pool", "Platform", "Set up"

TABLE: dict[str, Entry] = {
    "submit": Entry("gpuctl.cli.cmd.submit", "Submit a job; prints job/NAME.", _RUN),
    "run": Entry("gpuctl.cli.cmd.run", "Submit, follow, and end with the job's exit code.", _RUN),
    "shell": Entry("gpuctl.cli.cmd.shell", "Open a shell that holds GPUs.", _RUN),
    "rerun": Entry("gpuctl.cli.cmd.rerun", "Submit a job again.", _RUN),
    "jobs": Entry("gpuctl.cli.cmd.jobs", "List jobs.", _LOOK),
    "job": Entry("gpuctl.cli.cmd.job", "Show one job in full.", _LOOK),
    "logs": Entry("gpuctl.cli.cmd.logs", "Print what a job's ranks wrote.", _LOOK),
    "why": Entry("gpuctl.cli.cmd.why", "Explain why a job waits, failed or ended.", _LOOK),
    "top": Entry("gpuctl.cli.cmd.top", "Show what running jobs use now.", _LOOK),
    "history": Entry("gpuctl.cli.cmd.history", "List what I ran.", _LOOK),
    "diff": Entry("gpuctl.cli.cmd.diff", "Compare two jobs.", _LOOK),
    "wait": Entry("gpuctl.cli.cmd.wait", "Wait until jobs have ended.", _ACT),
    "cancel": Entry("gpuctl.cli.cmd.cancel", "End jobs.", _ACT),
    "update": Entry("gpuctl.cli.cmd.update", "Change a job that has not ended.", _ACT),
    "exec": Entry("gpuctl.cli.cmd.exec", "Run a command inside a running job.", _ACT),
    "cp": Entry("gpuctl.cli.cmd.cp", "Copy files out of a job.", _ACT),
    "port-forward": Entry("gpuctl.cli.cmd.port_forward", "Reach a port of a job.", _ACT),
    "nodes": Entry("gpuctl.cli.cmd.nodes", "List nodes and their GPUs.", _POOL),
    "clusters": Entry("gpuctl.cli.cmd.clusters", "List the clusters of the pool.", _POOL),
    "quota": Entry("gpuctl.cli.cmd.quota", "Show what a team may hold, and what is left.", _POOL),
    "windows": Entry("gpuctl.cli.cmd.windows", "Show whose the nodes are, and when.", _POOL),
    "usage": Entry("gpuctl.cli.cmd.usage", "Sum up GPU-hours.", _POOL),
    "volumes": Entry("gpuctl.cli.cmd.volumes", "Manage volumes.", _POOL),
    "controller": Entry("gpuctl.cli.cmd.controller", "What the platform runs in a cluster.", _PLATFORM),
    "profile": Entry("gpuctl.cli.cmd.profile", "Manage profiles.", _SET),
    "config": Entry("gpuctl.cli.cmd.config", "Explain settings.", _SET),
    "doctor": Entry("gpuctl.cli.cmd.doctor", "Check this machine and the pool.", _SET),
    "completion": Entry("gpuctl.cli.cmd.completion", "Print a shell completion script.", _SET),
    "version": Entry("gpuctl.cli.cmd.version", "Print the version.", _SET),
    "help": Entry("gpuctl.cli.cmd.help", "Explain a verb or a topic.", _SET),
    "_complete": Entry("gpuctl.cli.cmd.complete", "Names for shell completion.", _SET, hidden=True),
}
"""Every verb, in the order of the help."""


class LazyGroup(KnowingGroup):
    """The ``gpuctl`` command: stubs for help and typos, the real verb loaded at the moment it is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, entry in TABLE.items():
            self.commands[name] = TyperCommand(name=name, help=entry.help, hidden=entry.hidden, rich_markup_mode=None)

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the table."""
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the verb that is called, and no other."""
        if args and args[0] in TABLE:
            self.commands[args[0]] = TABLE[args[0]].load(args[0])
        return super().resolve_command(ctx, args)

    def load_all(self) -> None:
        """Load every verb (for generators and the test that nothing rots)."""
        for name, entry in TABLE.items():
            self.commands[name] = entry.load(name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The verbs under their headings."""
        panels = dict.fromkeys(entry.panel for entry in TABLE.values())
        width = max(len(name) for name, entry in TABLE.items() if not entry.hidden)
        for panel in panels:
            with formatter.section(panel):
                formatter.write_dl(
                    [(name.ljust(width), entry.help) for name, entry in TABLE.items() if entry.panel == panel and not entry.hidden]
                )


def root() -> LazyGroup:
    """The whole command line."""
    return LazyGroup(
        name="gpuctl",
        help="One command for GPU jobs: on this machine, and on a pool of clusters.",
        epilog="gpuctl VERB --help explains a verb; gpuctl help TOPIC: slurm, exit-codes, formats, environment.",
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
