"""What jobs do to their output, and that all of it arrives."""

import hashlib
import sys

from gpuctl.model.spec import JobSpec
from tests.unit.local_supervisor.harness import Bench


def python(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


def test_a_program_that_closes_its_output_is_still_waited_for(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", "echo before; exec >&- 2>&-; sleep 0.3; exit 9")))
    job.wait()
    assert job.log() == b"before\n"
    assert job.entries("task-ended")[0].data["code"] == 9


def test_binary_output_survives(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=python("import os; os.write(1, bytes(range(256)) * 500)")))
    job.wait()
    assert job.log() == bytes(range(256)) * 500


def test_a_line_of_a_megabyte_survives(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=python("print('x' * 1_000_000); print('end')")))
    job.wait()
    assert job.log() == b"x" * 1_000_000 + b"\nend\n"


def test_a_prompt_without_a_newline_is_there_while_it_waits(bench: Bench) -> None:
    from tests.unit.local_supervisor.harness import until

    job = bench.launch(JobSpec(command=("sh", "-c", "printf 'epoch 1'; sleep 3; echo ' done'")))
    until(lambda: job.log() == b"epoch 1", timeout=2.5)
    job.wait()
    assert job.log() == b"epoch 1 done\n"


def test_more_output_than_is_kept_ends_well_and_keeps_the_end(bench: Bench) -> None:
    text = "import sys\nfor i in range(200_000): sys.stdout.write(f'line {i:09d} ' + 'x' * 80 + '\\n')"
    job = bench.launch(JobSpec(command=python(text)), log_limit=1 << 20)
    job.wait()
    import pathlib

    files = sorted(pathlib.Path(job.plan.logs).iterdir())
    assert sum(path.stat().st_size for path in files) < 2 << 20
    assert b"line 000199999" in b"".join(path.read_bytes() for path in files)
    assert job.entries("task-ended")[0].data["state"] == "succeeded"


def test_nothing_is_lost_between_two_streams_at_full_speed(bench: Bench) -> None:
    text = "import os\nfor i in range(64):\n  os.write(1, b'o' * 65535 + b'\\n'); os.write(2, b'e' * 65535 + b'\\n')"
    job = bench.launch(JobSpec(command=python(text)))
    job.wait()
    assert hashlib.sha256(job.log(streams="o")).digest() == hashlib.sha256((b"o" * 65535 + b"\n") * 64).digest()
    assert job.log(streams="e") == (b"e" * 65535 + b"\n") * 64
