"""What the verbs are called elsewhere: a word of kubectl, Slurm, docker or a shell, and ours for it, where a nearest spelling misleads."""

from collections.abc import Container

_MEANT: dict[str, tuple[str, ...]] = {
    "add": ("create", "submit"),
    "apply": ("submit",),
    "attach": ("logs",),
    "cat": ("show", "job"),
    "copy": ("cp",),
    "create": ("add", "submit"),
    "del": ("delete", "remove", "cancel"),
    "delete": ("remove", "cancel"),
    "describe": ("show", "job"),
    "download": ("get", "cp"),
    "edit": ("update",),
    "explain": ("why",),
    "get": ("show", "list", "jobs"),
    "info": ("show", "nodes"),
    "inspect": ("show", "job"),
    "kill": ("cancel",),
    "list": ("jobs",),
    "ls": ("list", "jobs"),
    "mk": ("create", "add"),
    "new": ("create", "add", "submit"),
    "ps": ("list", "jobs"),
    "remove": ("delete", "cancel"),
    "rm": ("delete", "remove", "cancel"),
    "sacct": ("history",),
    "salloc": ("shell",),
    "sbatch": ("submit",),
    "scancel": ("cancel",),
    "scontrol": ("update",),
    "select": ("use",),
    "set": ("use",),
    "sinfo": ("nodes",),
    "squeue": ("jobs",),
    "srun": ("run",),
    "start": ("submit",),
    "status": ("show", "jobs"),
    "stop": ("cancel",),
    "switch": ("use",),
    "tail": ("logs",),
    "upload": ("put",),
}


def meant(word: str, verbs: Container[str]) -> str | None:
    """The verb among ``verbs`` that ``word`` stands for, or None. A word that is a verb itself is not asked about.

    >>> meant("rm", {"list", "delete"})
    'delete'
    """
    return next((verb for verb in _MEANT.get(word, ()) if verb in verbs), None)
