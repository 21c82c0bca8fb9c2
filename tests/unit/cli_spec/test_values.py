"""The values of single flags, right and wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gpuctl.model.spec import ArraySpec, Checkpoint, Dependency, GitSource, SignalBefore, VolumeMount
from tests.unit.cli_spec.conftest import Building


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("-j 4x8", {"nodes": 4, "gpus": 8}),
        ("--shape 2X0", {"nodes": 2, "gpus": 0}),
        ("--time 1-12:00:00", {"time": "1-12:00:00"}),
        ("--grace 0s", {"grace": "0s"}),
        ("--signal SIGUSR1@10m", {"signal": SignalBefore(name="USR1", before="10m")}),
        ("--signal int", {"signal": SignalBefore(name="INT", before="60s")}),
        ("--array 0-99%8", {"array": ArraySpec(first=0, last=99, parallel=8)}),
        ("--array 7", {"array": ArraySpec(first=7, last=7)}),
        ("--array 1,5,9-10", {"array": ArraySpec(first=1, last=10, only=(1, 5, 9, 10))}),
        ("--array 1,2,3", {"array": ArraySpec(first=1, last=3)}),
        ("--after prep --after any:job/eval-k3f9", {"after": (Dependency(job="prep"), Dependency(job="eval-k3f9", mode="any"))}),
        ("--volume data", {"volumes": (VolumeMount(name="data"),)}),
        (
            "--volume data:/d:ro --volume out:/o",
            {"volumes": (VolumeMount(name="data", path="/d", read_only=True), VolumeMount(name="out", path="/o"))},
        ),
        ("--volume data:ro", {"volumes": (VolumeMount(name="data", read_only=True),)}),
        ("--checkpoint data:/ck", {"checkpoint": Checkpoint(volume="data", dir="/ck")}),
        ("--logs-to data:/logs", {"logs_to": "data:/logs"}),
        ("--devices 0,2-3", {"devices": (0, 2, 3)}),
        ("--exclude n1,n2 --exclude n3", {"exclude": ("n1", "n2", "n3")}),
        ("--max-cost $250", {"max_cost": 250.0}),
        ("--priority -5", {"priority": -5}),
        ("--cpus 1.5 --memory 64Gi", {"cpus": "1.5", "memory": "64Gi"}),
        ("--env A=1 --env B==x --env A=2", {"env": {"A": "2", "B": "=x"}}),
        ("--env EMPTY=", {"env": {"EMPTY": ""}}),
        ("--code-volume data", {"code_volume": "data"}),
        ("--git https://git.example/a/b@v1", {"git": GitSource(url="https://git.example/a/b", ref="v1")}),
        (
            "--git git@git.example:a/b.git@main --workdir sub",
            {"git": GitSource(url="git@git.example:a/b.git", ref="main"), "workdir": "sub"},
        ),
        ("--env HERE", {"env": {"HERE": "value"}}),
        ("--hold --requeue", {"hold": True, "requeue": True}),
        ("--per gpu --nproc-per-node 4", {"per": "gpu", "nproc_per_node": 4}),
    ],
)
def test_what_a_flag_sets(built: Building, words: str, fields: dict[str, Any]) -> None:
    spec = built(*words.split(), "job.sh", env={"HERE": "value"}).document.spec
    assert {name: getattr(spec, name) for name in fields} == fields
    expected = msgspec.structs.replace(built("job.sh").document.spec, **fields)
    assert spec == expected


@pytest.mark.parametrize(
    ("words", "field", "text"),
    [
        ("-j 0x1", "-j", "did you mean 1x1?"),
        ("-j 2x", "-j", "did you mean 2x1?"),
        ("-j 8", "-j", "did you mean 1x8?"),
        ("-j x", "-j", "is no shape, got 'x'"),
        ("--time 30", "--time", "did you mean 30m?"),
        ("--time 0s", "--time", "is no time at all"),
        ("--time soon", "--time", "not a duration"),
        ("--kind pytorhc", "--kind", "did you mean pytorch?"),
        ("--per gpus", "--per", "did you mean gpu?"),
        ("--tier ondemand", "--tier", "did you mean on-demand?"),
        ("--array 9-3", "--array", "runs backwards, got '9-3' (allowed: A-B, A-B%K or A,B,C%K, such as 0-99%8); did you mean 3-9?"),
        ("--array 0-9%0", "--array", "none ever runs"),
        ("--array a-b", "--array", "is no array"),
        ("--array 0-99999999", "--array", "more than 1,000,000 tasks"),
        ("--after afterok:x", "--after", "did you mean ok:x?"),
        ("--after ok:", "--after", "names no job"),
        ("--env NOPE", "--env", "it is not set here"),
        ("--env HER", "--env", "did you mean HERE?"),
        ("--env 1A=2", "--env", "is no name of a variable"),
        ("--env GPUCTL_TOKEN=x", "--env", "is never handed to a job"),
        ("--secret TOKEN=abc", "--secret", "takes no value: others could read it, got 'TOKEN=***'"),
        ("--secret NOPE", "--secret", "it is not set here"),
        ("--volume Data:/d", "--volume", "did you mean data?"),
        ("--volume data:d", "--volume", "is no absolute path"),
        ("--checkpoint data:/../x", "--checkpoint", "is no absolute path"),
        ("--devices 3-1", "--devices", "is no list of devices"),
        ("--memory lots", "--memory", "not a memory quantity"),
        ("--cpus -1", "--cpus", "not a CPU quantity"),
        ("--max-cost much", "--max-cost", "is no amount"),
        ("--retries x", "--retries", "is no whole number"),
        ("--retries -1", "--retries", "is too small"),
        ("--nproc-per-node 0", "--nproc-per-node", "is too small"),
        ("--name My/Run", "--name", "did you mean my-run?"),
        ("--name über", "--name", "has characters that a name cannot hold"),
        ("--label x", "--label", "is no label"),
        ("--label x=a/b", "--label", "has a value that a label cannot hold"),
        ("--notify me", "--notify", "is no URL"),
        ("--workdir nowhere", "--workdir", "there is no such directory"),
        ("--workdir job.sh", "--workdir", "is no directory"),
        ("--env-file nope", "--env-file", "cannot be read: no such file or directory"),
        ("--args-from nope", "--args-from", "cannot be read"),
        ("--signal USR9@1m", "--signal", "is no signal"),
        ("--signal USR1@10", "--signal", "did you mean 10m?"),
        ("--signal KILL", "--signal", "cannot be caught"),
        ("--fit-window", "--fit-window", "needs time"),
        ("--request-id", "--request-id", "needs a value"),
        ("--code-volume My_Data", "--code-volume", "did you mean my-data?"),
        ("--git https://git.example/a/b", "--git", "says no branch, tag or commit, got 'https://git.example/a/b'"),
        ("--git git@git.example:a/b.git", "--git", "says no branch, tag or commit, got '***@git.example:a/b.git'"),
        ("--git https://bot:abc@git.example/a@main", "--git", "holds credentials"),
        ("--git https://bot:abc@git.example/a", "--git", "says no branch, tag or commit, got 'https://***@git.example/a'"),
        ("--git ext::sh@main", "--git", "is no address of a repository"),
        ("--git https://git.example/a@-x", "--git", "is no name of a branch, tag or commit, got '-x'"),
        ("--git https://git.example/a@main --workdir /abs", "--workdir", "is not in the repository"),
        ("--git https://git.example/a@main --workdir ../up", "--workdir", "is not in the repository"),
        ("--git https://git.example/a@main --snapshot", "--snapshot", "git names a repository"),
        ("--git https://git.example/a@main --code-volume data", "--code-volume", "git names a repository"),
    ],
)
def test_wrong_values_name_the_flag_what_it_got_and_what_is_allowed(
    refused: Callable[..., dict[str, str]], words: str, field: str, text: str
) -> None:
    # The script first in the list of words would end the flags; a flag at the end that needs a value has none.
    found = refused(*words.split(), *([] if field == "--request-id" else ["job.sh"]), env={"HERE": "value"})
    assert field in found
    assert text in found[field]
    assert "abc" not in found[field]


def test_a_name_of_300_characters_is_not_repeated_in_full(refused: Callable[..., dict[str, str]]) -> None:
    found = refused("--name", "x" * 300, "job.sh")
    assert len(found["--name"]) < 300
    assert "is 300 characters long, 40 is the most" in found["--name"]


def test_an_env_file(built: Building, directory: Path) -> None:
    (directory / "my.env").write_text("# comment\n\nexport A=1\nB = 'two words' \nC=\"x=y\"\nD=\n")
    assert built("--env-file", "my.env", "--env", "A=2", "job.sh").document.spec.env == {"A": "2", "B": "two words", "C": "x=y", "D": ""}


def test_a_line_of_an_env_file_that_is_none(refused: Callable[..., dict[str, str]], directory: Path) -> None:
    (directory / "my.env").write_text("A=1\nhello\n")
    assert "line 2 of my.env is no K=V, got 'hello'" in refused("--env-file", "my.env", "job.sh")["--env-file"]


def test_secrets_leave_only_their_names_in_the_job(built: Building, directory: Path) -> None:
    (directory / "token").write_text("s3cret-from-file\n")
    (directory / "more").write_text("THREE=s3cret-three\n")
    words = ["--secret", "ONE", "--secret", "TWO=@token", "--secret-file", "more", "job.sh"]
    found = built(*words, env={"ONE": "s3cret-one"})
    assert found.secrets == {"ONE": "s3cret-one", "TWO": "s3cret-from-file", "THREE": "s3cret-three"}
    assert found.document.spec.secrets == ("ONE", "TWO", "THREE")
    assert "s3cret" not in repr(found.body) + repr(found.document) + repr(list(found.layers))


def test_a_secret_file_is_never_quoted(refused: Callable[..., dict[str, str]], directory: Path) -> None:
    (directory / "more").write_text("s3cret without equals\n")
    assert "s3cret" not in str(refused("--secret-file", "more", "job.sh"))


def test_args_from_a_file_make_an_array(built: Building, directory: Path) -> None:
    (directory / "tasks").write_text("--lr 1e-3 --name 'a b'\n\n# none\n--lr 1e-4\n")
    array = built("--args-from", "tasks", "--array", "%1", "job.sh").document.spec.array
    assert array == ArraySpec(first=0, last=1, parallel=1, args=(("--lr", "1e-3", "--name", "a b"), ("--lr", "1e-4")))


def test_args_from_a_file_that_do_not_match_the_array(refused: Callable[..., dict[str, str]], directory: Path) -> None:
    (directory / "tasks").write_text("a\nb\n")
    assert "2 lists" in refused("--args-from", "tasks", "--array", "0-4", "job.sh")["--args-from"]
