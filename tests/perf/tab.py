"""What Tab on a verb or a flag costs in a bash that is already there: no program is started."""

import subprocess
from pathlib import Path

from tests.perf.measure import home, line, title

SCRIPT = Path(__file__).parents[2] / "completions" / "gpuctl.bash"
TIMES = 200
_PROBE = f"""
source {SCRIPT}
COMP_WORDS=(gpuctl submit --) COMP_CWORD=2 COMP_LINE='gpuctl submit --' COMP_POINT=16
before=$EPOCHREALTIME
for ((n = 0; n < {TIMES}; n++)); do _gpuctl 2>/dev/null; done
after=$EPOCHREALTIME
echo "$(( (${{after/./}} - ${{before/./}}) / {TIMES} )) ${{#COMPREPLY[@]}}"
"""


def main() -> None:
    """Microseconds of one Tab."""
    title("Tab on flags of submit, inside bash")
    with home() as env:
        done = subprocess.run(["bash", "--norc", "-c", _PROBE], env=env, capture_output=True, text=True, check=True, timeout=120)
    micros, offered = done.stdout.split()
    line(f"{offered} candidates, no program started", f"{int(micros) / 1000:.1f} ms")


if __name__ == "__main__":
    main()
