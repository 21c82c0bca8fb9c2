"""``gpuctl help environment``: generated from the table of settings, so that it cannot lag behind."""

import textwrap

from gpuctl.config.keys import KEYS

_FIXED = (
    ("GPUCTL_TOKEN, GPUCTL_TOKEN_FILE", "the token for a REST pool; never handed to a job"),
    ("GPUCTL_ERRORS=json", "errors as one line of JSON on stderr"),
    ("GPUCTL_SUBMIT_<FLAG>", "default of a flag of submit (GPUCTL_SUBMIT_TIME=6h)"),
    ("NO_COLOR, FORCE_COLOR, TERM=dumb", "colour off, on, off"),
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "where configuration and jobs are kept"),
    ("XDG_CACHE_HOME, XDG_DATA_HOME", "where caches and volumes are kept"),
    ("VIRTUAL_ENV, CONDA_PREFIX", "which Python runs a job (after --python and .venv)"),
)

_JOB = (
    ("GPUCTL_JOB, GPUCTL_JOB_ID", "the job's name and its unique id"),
    ("GPUCTL_ATTEMPT", "1, and one more at each retry"),
    ("GPUCTL_ARRAY_INDEX", "the task of an array"),
    ("GPUCTL_NODE_RANK", "the number of the node, from 0"),
    ("GPUCTL_VOLUME_<NAME>", "where a volume is mounted"),
    ("GPUCTL_CHECKPOINT_DIR", "where to leave checkpoints (--checkpoint)"),
    ("GPUCTL_RESUME_FROM", "the same directory, from attempt 2 on"),
    ("MASTER_ADDR, MASTER_PORT, PET_*", "rendezvous of torchrun, set on every cluster alike"),
    ("RANK, LOCAL_RANK, WORLD_SIZE", "where gpuctl starts the ranks (pytorch, --per gpu)"),
    ("CUDA_VISIBLE_DEVICES", "exactly the GPUs that the job holds"),
)


def text() -> str:
    """Variables that gpuctl reads, and those it sets for jobs."""
    settings = "".join(
        f"  {key.env}\n{_indented(key.doc)}\n{_indented(f'{key.name} in a file; default: {key.shown_default}')}\n" for key in KEYS
    )
    read = "".join(f"  {name:<34} {meaning}\n" for name, meaning in _FIXED)
    given = "".join(f"  {name:<34} {meaning}\n" for name, meaning in _JOB)
    return (
        "Environment variables\n\n"
        "Settings: a flag wins over the variable, the variable over the project's\n"
        ".gpuctl.yaml, that over your config.yaml (gpuctl config explain KEY tells)\n"
        f"{settings}\nAlso read\n{read}\nSet for jobs\n{given}"
    )


def _indented(sentence: str) -> str:
    return textwrap.fill(sentence, width=78, initial_indent=" " * 6, subsequent_indent=" " * 6)
