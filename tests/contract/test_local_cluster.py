"""This machine keeps a cluster's promises."""

import time
from collections.abc import Iterator

import msgspec
import pytest

from gpuctl.base.errors import InvalidInput
from gpuctl.model.ask import ExecTarget
from gpuctl.model.job import State
from gpuctl.model.spec import Dependency
from tests.contract.cluster_contract import ClusterContract
from tests.fakes.machine import LocalPlace


class TestLocalCluster(ClusterContract):
    """Real supervisors and a real keeper."""

    @pytest.fixture
    def place(self) -> Iterator[LocalPlace]:
        made = LocalPlace()
        yield made
        made.close()

    def test_a_script_that_is_not_there_is_refused_unless_an_earlier_job_may_write_it(self, place: LocalPlace) -> None:
        missing = place.submission(script="nowhere.py")
        with pytest.raises(InvalidInput) as caught:
            place.cluster.launch(missing)
        assert (caught.value.code, [problem.field for problem in caught.value.problems]) == ("script-missing", ["script"])
        first = place.cluster.launch(place.submission("sleep", "60")).job
        later = msgspec.structs.replace(missing, spec=msgspec.structs.replace(missing.spec, after=(Dependency(job=first.name),)))
        assert not place.cluster.launch(later).job.final

    def test_exec_says_what_a_shell_would_when_a_program_is_not_there(self, place: LocalPlace, capfd: pytest.CaptureFixture[str]) -> None:
        job = place.cluster.launch(place.submission("sleep", "60")).job
        deadline = time.monotonic() + 20
        while place.cluster.job(job.id).state is not State.RUNNING:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert place.cluster.exec(job.id, ExecTarget(), ["no-such-program"], tty=False) == 127
        assert capfd.readouterr().err == "no-such-program: command not found\n"
