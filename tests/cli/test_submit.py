"""``gpuctl submit``: what it hands over, what it prints where, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpuctl import wiring
from gpuctl.model.job import State
from gpuctl.model.spec import JobSpec
from tests.cli.quick import quick_pool


@pytest.fixture(autouse=True)
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python script and a shell script in the working directory, and an interpreter that is found without looking."""
    (tmp_path / "train.py").write_text("#GPUCTL -j 1x2 --time 6h\nprint('hello')\n")
    (tmp_path / "job.sh").write_text("#!/bin/sh\ntrue\n")
    monkeypatch.setattr(wiring, "explain_interpreter", lambda python, workdir, env: ("/usr/bin/python3", "PATH"))
    monkeypatch.setattr(wiring, "require_module", lambda python, kind, env: None)
    return tmp_path


def test_stdout_is_exactly_the_job(run: Any) -> None:
    pool, cluster = quick_pool()
    outcome = run(pool, "submit", "--request-id", "r1", "-j", "1x1", "--env", "A=1", "train.py", "--lr", "3e-4", env={"HERE": "x"})
    assert (outcome.code, outcome.out) == (0, "job/train-bn9w\n")
    assert outcome.err == "python: /usr/bin/python3 (from PATH)\nqueued on local\nhint: gpuctl logs -f train-bn9w\n"
    (submission,) = cluster.submissions.values()
    spec = submission.spec
    assert (spec.kind, spec.script, spec.args, spec.gpus, spec.time) == ("pytorch", "train.py", ("--lr", "3e-4"), 1, "6h")
    assert submission.environment["A"] == "1"
    assert submission.environment["HERE"] == "x"
    assert submission.interpreter == "/usr/bin/python3"


def test_a_held_job_is_hinted_how_to_release_it(run: Any) -> None:
    pool, _ = quick_pool()
    assert run(pool, "submit", "--request-id", "r1", "--hold", "train.py").err.endswith("hint: gpuctl update train-bn9w --release\n")


def test_a_module_that_is_missing_is_told_before_anything_is_queued(run: Any, scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = scripts / "python"
    bare.write_text("#!/bin/sh\necho no\n")
    bare.chmod(0o755)
    monkeypatch.undo()
    pool, cluster = quick_pool()
    outcome = run(pool, "submit", "--python", str(bare), "train.py", cwd=str(scripts))
    assert (outcome.code, outcome.out, cluster.submissions) == (2, "", {})
    assert f"error[module-missing]: cannot run a pytorch job with {bare}: it has no torch\n" in outcome.err
    assert f"hint: {bare} -m pip install torch" in outcome.err


def test_quiet_leaves_stdout_alone(run: Any) -> None:
    outcome = run(quick_pool()[0], "submit", "-q", "--", "true")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("job/true-")


def test_notes_go_to_stderr(run: Any) -> None:
    outcome = run(quick_pool()[0], "submit", "train.py", "--time", "6h")
    assert outcome.err.startswith("note: --time went to train.py\n")
    assert outcome.out.count("\n") == 1


@pytest.mark.parametrize("form", ["json", "yaml", "name", "jsonpath=.name", "columns=name,state"])
def test_formats_print_the_job(run: Any, form: str) -> None:
    outcome = run(quick_pool()[0], "submit", "-o", form, "--request-id", "r1", "--", "true")
    assert outcome.code == 0
    body = {
        "json": lambda: json.loads(outcome.out)["name"],
        "yaml": lambda: yaml.safe_load(outcome.out)["name"],
        "name": lambda: outcome.out.strip().removeprefix("job/"),
        "jsonpath=.name": outcome.out.strip,
        "columns=name,state": lambda: outcome.out.splitlines()[1].split()[0],
    }[form]()
    assert body == "true-bn9w"


def test_the_same_request_is_the_same_job_and_another_spec_a_conflict(run: Any) -> None:
    pool, cluster = quick_pool()
    first = run(pool, "submit", "--request-id", "r1", "--", "true")
    assert run(pool, "submit", "--request-id", "r1", "--", "true").out == first.out
    other = run(pool, "submit", "--request-id", "r1", "-j", "1x2", "--", "true")
    assert (other.code, other.out, len(cluster.submissions)) == (6, "", 1)


WRONG: dict[str, tuple[list[str], dict[str, str]]] = {
    "nothing": ([], {}),
    "everything": (
        ["-j", "0x1", "--tim", "6h", "--memory", "lots", "--env", "NOPE", "--name", "My_Run", "--array", "9-3", "--time", "30", "job.sh"],
        {},
    ),
    "shape": (["-j", "2x", "job.sh"], {}),
    "missing script": (["trian.py"], {}),
    "a command without dashes": (["nvidia-smi"], {}),
    "a directory": (["/"], {}),
    "long name": (["--name", "x" * 300, "job.sh"], {}),
    "list": (["-f", "list.yaml"], {}),
    "fields": (["-f", "fields.yaml"], {}),
    "script with file": (["-f", "fields.yaml", "job.sh"], {}),
    "directives": (["directives.sh"], {}),
    "variables": (["job.sh"], {"GPUCTL_SUBMIT_TIEM": "6h"}),
    "request id": (["--request-id", "a b", "--timeout", "3", "job.sh"], {}),
    "two ways to stay": (["--wait", "--plan", "job.sh"], {}),
    "format": (["-o", "jsn", "job.sh"], {}),
    "render": (["--render", "job.sh"], {}),
}


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_creates_nothing_and_tells_everything(run: Any, snapshot: Any, scripts: Path, case: str, width: int) -> None:
    (scripts / "list.yaml").write_text("- a\n")
    (scripts / "fields.yaml").write_text("apiVersion: gpuctl.io/v1\nkind: Job\nspec: {comand: [x], gpus: -1, tme: 6h}\n")
    (scripts / "directives.sh").write_text("#!/bin/sh\n#GPUCTL --tim 6h\n#GPUCTL -j 0x1\n")
    words, env = WRONG[case]
    pool, cluster = quick_pool()
    outcome = run(pool, "submit", *words, env=env, width=width, tty=True)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == snapshot
    assert cluster.submissions == {}


def test_too_large_is_refused_by_the_cluster(run: Any) -> None:
    pool, cluster = quick_pool()
    outcome = run(pool, "submit", "-j", "1000x8", "--", "true")
    assert (outcome.code, outcome.out, cluster.submissions) == (5, "", {})
    assert outcome.err.startswith("error[never-fits]: ")


@pytest.mark.parametrize("verb", ["submit", "run", "shell", "rerun"])
@pytest.mark.parametrize("width", [80, 120])
def test_help(run: Any, snapshot: Any, verb: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    outcome = run(quick_pool()[0], verb, "--help")
    written = capsys.readouterr().out + outcome.out
    assert outcome.code == 0
    assert max(map(len, written.splitlines())) <= width
    assert written == snapshot


@pytest.mark.parametrize("form", ["table", "wide", "json"])
def test_explain_shows_where_values_came_from(run: Any, snapshot: Any, form: str) -> None:
    pool, cluster = quick_pool()
    env = {"GPUCTL_SUBMIT_PRIORITY": "3", "TOKEN": "s3cret"}
    words = ["-j", "1x1", "--env", "A=1", "--secret", "TOKEN", "--volume", "data:/d", "train.py", "x"]
    outcome = run(pool, "submit", "--explain", "-o", form, *words, env=env)
    assert outcome.code == 0
    assert outcome.out == snapshot
    assert "s3cret" not in outcome.out
    assert cluster.submissions == {}


@pytest.mark.parametrize("form", [None, "json", "yaml", "name", "columns=name,kind,shape,time,program"])
def test_dry_run_prints_the_job(run: Any, snapshot: Any, form: str | None) -> None:
    pool, cluster = quick_pool()
    outcome = run(pool, "submit", "--dry-run", *(["-o", form] if form else []), "--env", "A=1", "train.py", "x")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == snapshot
    assert cluster.submissions == {}


def test_what_dry_run_printed_is_submitted_by_f(run: Any, scripts: Path) -> None:
    words = ["-j", "1x1", "--name", "llama", "--label", "team=vision", "train.py", "--lr", "1e-3"]
    (scripts / "job.yaml").write_text(run(quick_pool()[0], "submit", "--dry-run", "-o", "yaml", *words).out)
    pool, cluster = quick_pool()
    assert run(pool, "submit", "-f", "job.yaml").code == 0
    direct_pool, direct = quick_pool()
    assert run(direct_pool, "submit", *words).code == 0
    (one,), (other,) = cluster.submissions.values(), direct.submissions.values()
    assert (one.spec, one.base_name, one.labels) == (other.spec, other.base_name, other.labels)


def test_plan(run: Any, snapshot: Any) -> None:
    pool, cluster = quick_pool()
    outcome = run(pool, "submit", "--plan", "-j", "1x2", "--", "true")
    assert (outcome.code, cluster.submissions) == (0, {})
    assert outcome.out == snapshot
    body = json.loads(run(pool, "submit", "--plan", "-o", "json", "--", "true").out)
    assert body["items"][0]["cluster"] == "local"


@pytest.mark.parametrize(
    ("codes", "state", "code"),
    [({0: 0}, None, 0), ({0: 3}, None, 3), ({0: 0}, State.CANCELLED, 143), ({0: 1}, State.CUT, 125), ({0: 1}, State.LOST, 125)],
)
@pytest.mark.parametrize("how", ["--wait", "--follow"])
def test_staying_ends_with_the_job_s_code(run: Any, how: str, codes: dict[int, int], state: State | None, code: int) -> None:
    pool, _ = quick_pool(codes=codes, state=state, lines=["one", "two"])
    outcome = run(pool, "submit", how, "--request-id", "r1", "--", "true")
    assert outcome.code == code
    logs = "one\ntwo\n" if how == "--follow" else ""
    assert outcome.out == f"job/true-bn9w\n{logs}"
    assert "job/true-bn9w" in outcome.err.splitlines()[-1] or outcome.err.splitlines()[-1] == "hint: gpuctl why true-bn9w"


def test_waiting_with_a_format_prints_the_ended_job(run: Any) -> None:
    pool, _ = quick_pool(codes={0: 3})
    outcome = run(pool, "submit", "--wait", "-o", "json", "--", "true")
    assert (outcome.code, json.loads(outcome.out)["state"]) == (3, "failed")


def test_a_timeout_leaves_the_job_alone(run: Any) -> None:
    pool, cluster = quick_pool(stays=State.QUEUED)
    outcome = run(pool, "submit", "--wait", "--timeout", "1s", "--request-id", "r1", "--", "true")
    assert outcome.code == 124
    assert "error[timeout]: job/true-bn9w did not end in 1s: it is queued" in outcome.err
    assert [job.state for job in cluster.jobs_by_id.values()] == [State.QUEUED]


def test_a_script_through_stdin(run: Any) -> None:
    pool, cluster = quick_pool()
    outcome = run(pool, "submit", "-", "a", stdin="#!/bin/sh\n#GPUCTL --name piped\necho $1\n")
    assert outcome.out.startswith("job/piped-")
    (submission,) = cluster.submissions.values()
    assert submission.spec == JobSpec(
        kind="command", args=("a",), stdin_script="#!/bin/sh\n#GPUCTL --name piped\necho $1\n", workdir=submission.spec.workdir
    )


def test_a_job_can_submit_jobs(run: Any) -> None:
    pool, cluster = quick_pool()
    inside = {"GPUCTL_JOB": "outer-k3f9", "GPUCTL_JOB_ID": "abc", "GPUCTL_ATTEMPT": "2", "GPUCTL_ARRAY_INDEX": "7", "RANK": "3"}
    assert run(pool, "submit", "--", "true", env=inside).code == 0
    (submission,) = cluster.submissions.values()
    assert submission.spec == JobSpec(kind="command", command=("true",), workdir=submission.spec.workdir)


def test_tokens_are_never_handed_to_a_job(run: Any) -> None:
    pool, cluster = quick_pool()
    assert run(pool, "submit", "--", "true", env={"GPUCTL_TOKEN": "t0ken", "GPUCTL_TOKEN_FILE": "/x"}).code == 0
    (submission,) = cluster.submissions.values()
    assert not [name for name in submission.environment if name.startswith("GPUCTL_TOKEN")]
