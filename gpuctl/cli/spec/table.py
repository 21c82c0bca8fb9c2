"""Every flag of submit, run, shell and rerun, once: for the command line, directives, the environment, help and ``--explain``."""

from collections.abc import Iterable

from gpuctl.base.errors import nearest
from gpuctl.cli.spec import read_shape, read_values
from gpuctl.cli.spec.flag import Flag

WHAT, NEEDS, ENVIRONMENT, WHERE, WHEN, FAILURE, DATA, NAME, ACT = (
    "What runs",
    "What it needs",
    "Environment",
    "Where",
    "When, and how long",
    "Ends and failures",
    "Data",
    "Name and many tasks",
    "Submitting",
)

KINDS = ("pytorch", "ray", "command")
TIERS = ("reserved", "on-demand", "any")

DESCRIBING: tuple[Flag, ...] = (
    Flag(
        name="--kind",
        metavar="pytorch|ray|command",
        heading=WHAT,
        read=read_values.word("kind", *KINDS),
        about="What it is; .py is pytorch, anything else command.",
    ),
    Flag(
        name="-j",
        other=("--shape",),
        metavar="NxM",
        heading=WHAT,
        read=read_shape.shape,
        about="N nodes of M GPUs each (default 1x1; Nx0: none).",
    ),
    Flag(
        name="--per",
        metavar="node|gpu",
        heading=WHAT,
        read=read_values.word("per", "node", "gpu"),
        about="Copies of a command: one a node, or one a GPU with RANK set.",
    ),
    Flag(
        name="--nproc-per-node",
        metavar="N",
        heading=WHAT,
        read=read_shape.count("nprocPerNode", lowest=1),
        about="Processes on each node, when not one per GPU.",
    ),
    Flag(
        name="--python",
        metavar="FILE",
        heading=WHAT,
        read=read_values.word("python"),
        about="Interpreter; else .venv, VIRTUAL_ENV, CONDA_PREFIX, python3.",
    ),
    Flag(
        name="--setup",
        metavar="COMMAND",
        heading=WHAT,
        read=read_values.word("setup"),
        about="Shell command that runs once on each node before it starts.",
    ),
    Flag(name="--workdir", metavar="DIR", heading=WHAT, read=read_values.directory, about="Directory it runs in (default: this one)."),
    Flag(name="--snapshot", heading=WHAT, read=read_values.switch("snapshot"), about="Run a copy of the code as it is now."),
    Flag(
        name="--git",
        metavar="URL@REF",
        heading=WHAT,
        read=read_values.git,
        about="A branch, tag or commit of a repository.",
    ),
    Flag(
        name="--code-volume",
        metavar="NAME",
        heading=WHAT,
        read=read_values.word("codeVolume"),
        about="Volume for code above 7 MiB (Kubernetes).",
    ),
    Flag(name="--image", metavar="IMAGE", heading=WHAT, read=read_values.word("image"), about="Container image, on clusters that use one."),
    Flag(name="--cpus", metavar="CORES", heading=NEEDS, read=read_shape.cpus(), about="CPU of each node (default: its GPUs' share)."),
    Flag(
        name="--memory",
        metavar="SIZE",
        heading=NEEDS,
        read=read_shape.memory(),
        about="Memory of each node (64Gi, 2g; default: its GPUs' share).",
    ),
    Flag(name="--gpu-type", metavar="TYPE", heading=NEEDS, read=read_values.word("gpuType"), about="Only GPUs of this type (H100)."),
    Flag(name="--devices", metavar="0,1", heading=NEEDS, read=read_values.devices, about="Only these GPUs of this machine, by index."),
    Flag(
        name="--env",
        metavar="K[=V]",
        heading=ENVIRONMENT,
        read=read_values.env,
        many=True,
        about="Set a variable; K alone: with the value it has here.",
    ),
    Flag(
        name="--env-file", metavar="FILE", heading=ENVIRONMENT, read=read_values.env_file, many=True, about="Set the K=V lines of a file."
    ),
    Flag(
        name="--secret",
        metavar="NAME[=@FILE]",
        heading=ENVIRONMENT,
        read=read_values.secret,
        many=True,
        about="Secret from the environment or a file; never printed.",
    ),
    Flag(
        name="--secret-file",
        metavar="FILE",
        heading=ENVIRONMENT,
        read=read_values.secret_file,
        many=True,
        about="The NAME=value lines of a file, as secrets.",
    ),
    Flag(name="--cluster", metavar="NAME", heading=WHERE, read=read_values.word("cluster"), about="Only this cluster of the pool."),
    Flag(
        name="--tier",
        metavar="reserved|on-demand|any",
        heading=WHERE,
        read=read_values.word("tier", *TIERS),
        about="Which hardware (default any: reserved first).",
    ),
    Flag(name="--queue", metavar="NAME", heading=WHERE, read=read_values.word("queue"), about="Queue, where a cluster has several."),
    Flag(name="--exclude", metavar="NODE,...", heading=WHERE, read=read_values.words("exclude"), many=True, about="Not on these nodes."),
    Flag(name="--max-cost", metavar="AMOUNT", heading=WHERE, read=read_shape.money, about="Never costs more than this."),
    Flag(
        name="--pod-patch", metavar="FILE", heading=WHERE, read=read_values.contents("podPatch"), about="Patch for the pods, on Kubernetes."
    ),
    Flag(
        name="--time",
        metavar="TIME",
        heading=WHEN,
        read=read_shape.time_limit("time"),
        about="End it after this long (6h, 1d12h, 1-12:00:00).",
    ),
    Flag(
        name="--after",
        metavar="MODE:JOB",
        heading=WHEN,
        read=read_shape.after,
        many=True,
        about="Start after JOB has ended: ok, any or fail.",
    ),
    Flag(name="--hold", heading=WHEN, read=read_values.switch("hold"), about="Wait until gpuctl update JOB --release."),
    Flag(
        name="--priority",
        metavar="N",
        heading=WHEN,
        read=read_shape.count("priority", lowest=-1_000_000),
        about="Before my jobs of a lower one (default 0).",
    ),
    Flag(
        name="--fit-window",
        heading=WHEN,
        read=read_values.switch("fitWindow"),
        about="Start only where it ends before the window; needs --time.",
    ),
    Flag(
        name="--signal",
        metavar="NAME@TIME",
        heading=FAILURE,
        read=read_shape.signal,
        about="Signal its ranks so long before its end (USR1@10m).",
    ),
    Flag(
        name="--grace",
        metavar="TIME",
        heading=FAILURE,
        read=read_shape.time_limit("grace", zero=True),
        about="Between SIGTERM and SIGKILL (default 30s).",
    ),
    Flag(
        name="--retries", metavar="N", heading=FAILURE, read=read_shape.count("retries"), about="Run it again up to N times when it fails."
    ),
    Flag(name="--requeue", heading=FAILURE, read=read_values.switch("requeue"), about="It may be stopped and started again, elsewhere."),
    Flag(
        name="--checkpoint",
        metavar="VOLUME:/dir",
        heading=FAILURE,
        read=read_values.checkpoint,
        about="Where it resumes from (GPUCTL_RESUME_FROM).",
    ),
    Flag(name="--notify", metavar="URL", heading=FAILURE, read=read_values.url, about="Tell this address when it ends."),
    Flag(
        name="--volume",
        metavar="NAME[:/path[:ro]]",
        heading=DATA,
        read=read_values.volume,
        many=True,
        about="Mount a volume (GPUCTL_VOLUME_NAME is its path).",
    ),
    Flag(name="--logs-to", metavar="VOLUME[:/dir]", heading=DATA, read=read_values.logs_to, about="Keep all of its logs on a volume."),
    Flag(name="--name", metavar="NAME", heading=NAME, read=read_shape.name, about="First part of its name (default: the script's)."),
    Flag(name="--label", metavar="K=V", heading=NAME, read=read_values.label, many=True, about="A label to find it by."),
    Flag(
        name="--array", metavar="A-B[%K]", heading=NAME, read=read_shape.array, about="A task per index, K at a time (GPUCTL_ARRAY_INDEX)."
    ),
    Flag(
        name="--args-from", metavar="FILE", heading=NAME, read=read_shape.args_from, about="A task per line, with its words as arguments."
    ),
)
"""Flags that describe the job: allowed in directives and, as GPUCTL_SUBMIT_*, in the environment."""

FROM_FILE: tuple[Flag, ...] = (
    Flag(name="-f", other=("--file",), metavar="FILE", heading=ACT, about="Read the job from a file (-: standard input)."),
    Flag(name="--set", metavar="PATH=VALUE", heading=ACT, many=True, about="Change one field of the job (env.LR=1e-3)."),
)
REQUEST: tuple[Flag, ...] = (
    Flag(name="--request-id", metavar="ID", heading=ACT, about="The same id and job again is the same job."),
    Flag(name="--best-effort", heading=ACT, about="Go without what nothing here can keep."),
    Flag(name="--wait-for-capacity", heading=ACT, about="Nothing fits now: keep trying from here."),
)
LOOKING: tuple[Flag, ...] = (
    Flag(name="--explain", heading=ACT, about="Show each value and where it is from; submit nothing."),
    Flag(name="--plan", heading=ACT, about="Show where and when it could run; submit nothing."),
    Flag(name="--dry-run", heading=ACT, about="Print the job that -f reads (-o yaml); submit nothing."),
    Flag(name="--render", heading=ACT, about="Print the backend's objects; needs Kubernetes."),
)
STAYING: tuple[Flag, ...] = (
    Flag(name="--wait", heading=ACT, about="Wait for its end; exit with its code."),
    Flag(name="--follow", heading=ACT, about="As --wait, and print its logs."),
)
TIMEOUT: tuple[Flag, ...] = (Flag(name="--timeout", metavar="TIME", heading=ACT, about="Stop waiting after so long (exit 124)."),)

EVERY: tuple[Flag, ...] = (*DESCRIBING, *FROM_FILE, *REQUEST, *LOOKING, *STAYING, *TIMEOUT)

MEANT: dict[str, str] = {
    "--chdir": "--workdir",
    "--cpus-per-task": "--cpus",
    "--dependency": "--after",
    "--export": "--env",
    "--gpus-per-task": "-j NxM",
    "--gpus": "-j NxM",
    "--gpus-per-node": "-j NxM",
    "--gres": "-j NxM",
    "--gpu": "-j NxM",
    "--job-name": "--name",
    "--mail-user": "--notify",
    "--mail-type": "--notify",
    "--mem": "--memory",
    "--nodes": "-j NxM",
    "--nnodes": "-j NxM",
    "--nodelist": "--cluster or --exclude",
    "--nproc": "--nproc-per-node",
    "--nproc_per_node": "--nproc-per-node",
    "--ntasks": "-j NxM",
    "--ntasks-per-node": "--nproc-per-node",
    "--partition": "--queue",
    "--constraint": "--gpu-type",
    "--qos": "--priority",
    "--nice": "--priority",
    "--time-limit": "--time",
    "--wrap": "-- COMMAND",
    "-C": "--gpu-type",
    "-D": "--workdir",
    "-G": "-j NxM",
    "-J": "--name",
    "-N": "-j NxM",
    "-c": "--cpus",
    "-d": "--after",
    "-n": "-j NxM",
    "-p": "--queue",
    "-t": "--time",
    "-w": "--cluster or --exclude",
    "-x": "--exclude",
}
"""What people mean who come from Slurm or torchrun."""


def by_spelling(flags: Iterable[Flag]) -> dict[str, Flag]:
    """Flags by each of their spellings."""
    return {spelling: flag for flag in flags for spelling in flag.names}


def meant(spelling: str, known: Iterable[str]) -> str | None:
    """The flag that somebody who wrote ``spelling`` most likely wanted."""
    candidates = list(known)
    translated = MEANT.get(spelling)
    if translated is not None:
        return translated
    return nearest(spelling, [name for name in candidates if name.startswith("--")]) if spelling.startswith("--") else None
