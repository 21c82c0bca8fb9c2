"""Jobs of kind command, run by a real supervisor."""

from gpuctl.model.spec import JobSpec
from tests.unit.local_supervisor.harness import Bench


def test_a_program_runs_to_its_end(bench: Bench) -> None:
    job = bench.launch(JobSpec(command=("sh", "-c", "echo out; echo err >&2; pwd")))
    entries = job.wait()
    assert [entry.what for entry in entries] == ["supervisor", "task-started", "rank-ended", "task-ended", "ended"]
    assert entries[3].data == {"state": "succeeded", "code": 0}
    assert sorted(job.log().splitlines()) == sorted([b"out", b"err", job.plan.workdir.encode()])
    assert job.log(streams="e") == b"err\n"
    assert job.locked() == [False]
    assert job.process.returncode == 0
