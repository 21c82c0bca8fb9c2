"""``gpuctl help exit-codes``."""

from gpuctl.base.exitcodes import MEANING

_TAIL = """
run, submit --wait, wait --exit-status, shell and exec return the job's own code,
and 128+n when it died of signal n (137: SIGKILL, 143: SIGTERM). Of several jobs
or ranks the highest counts. A job that was cut or lost is 125, a cancelled one 143.
"""


def text() -> str:
    """The table of exit codes."""
    rows = "".join(f"  {code.value:>5}  {meaning}\n" for code, meaning in MEANING.items())
    return f"Exit codes of every gpuctl command\n\n{rows}  128+n  the job died of signal n\n{_TAIL}"
