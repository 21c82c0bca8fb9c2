import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpuctl.base.errors import InvalidInput, UsageError
from gpuctl.config import keys, paths, settings


@pytest.fixture
def levels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A file for each level; the system's is redirected."""
    project = tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    found = {"project": project / ".gpuctl.yaml", "user": Path(paths.user_config()), "system": tmp_path / "etc.yaml"}
    found["user"].parent.mkdir(parents=True)
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", str(found["system"]))
    monkeypatch.chdir(project)
    return found


def test_every_level_overrides_the_next(levels: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.load().explain("color") == settings.Explained(key=keys.COLOR, value="auto", source="default", overridden=())
    expected: list[tuple[str, str]] = [("auto", "default")]
    for level, word in (("system", "never"), ("user", "always"), ("project", "never")):
        levels[level].write_text(f"color: {word}\n")
        expected.insert(0, (word, str(levels[level])))
    monkeypatch.setenv("GPUCTL_COLOR", "always")
    expected.insert(0, ("always", "GPUCTL_COLOR"))
    expected.insert(0, ("never", "--color"))
    explained = settings.load(flags={"color": "never", "profile": None}).explain("color")
    assert [(explained.value, explained.source), *((given.value, given.source) for given in explained.overridden)] == expected


def test_values_have_their_types(levels: dict[str, Path]) -> None:
    levels["user"].write_text("slots: 16\nrequest_timeout: 1m30s\ntime_zone: Europe/Berlin\nstate_dir: ~/state\n")
    loaded = settings.load()
    assert loaded.get(keys.SLOTS) == 16
    assert loaded.get(keys.REQUEST_TIMEOUT) == 90
    assert loaded.get(keys.TIME_ZONE) == "Europe/Berlin"
    state = loaded.get(keys.STATE_DIR)
    assert state is not None
    assert state.endswith("/state")
    assert state.startswith("/")
    assert loaded.get(keys.PROFILE) == "local"
    assert loaded.given_by(keys.PROFILE) is None
    assert loaded.given_by(keys.SLOTS) == str(levels["user"])


def test_all_problems_of_all_levels_at_once(levels: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    levels["system"].write_text("slots: many\n")
    levels["user"].write_text("colour: never\nrequest_timeout: 30\nprofiles: [a]\n")
    levels["project"].write_text("state_dir: /tmp/theirs\nprofiles: {}\n")
    monkeypatch.setenv("GPUCTL_TIME_ZONE", "Mars/Olympus")
    with pytest.raises(InvalidInput) as caught:
        settings.load()
    found = {problem.field: problem for problem in caught.value.problems}
    assert set(found) == {
        f"{levels['system']}: slots",
        f"{levels['user']}: colour",
        f"{levels['user']}: request_timeout",
        f"{levels['user']}: profiles",
        f"{levels['project']}: state_dir",
        f"{levels['project']}: profiles",
        "GPUCTL_TIME_ZONE",
    }
    assert found[f"{levels['user']}: colour"].nearest == "color"
    assert found[f"{levels['system']}: slots"].got == "'many'"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("- a\n- b\n", None),
        ("a: [", "line 2"),
        ("\x00", "special characters"),
        ("text", None),
        ("a: !!python/name:os.system x", "constructor"),
    ],
)
def test_a_file_that_is_no_mapping(levels: dict[str, Path], text: str, cause: str | None) -> None:
    levels["user"].write_text(text)
    with pytest.raises(UsageError) as caught:
        settings.load()
    assert caught.value.code == "bad-config"
    assert str(levels["user"]) in caught.value.message
    assert (caught.value.cause is None) if cause is None else (caught.value.cause is not None)


def test_a_file_nobody_may_read_or_that_is_a_directory(levels: dict[str, Path]) -> None:
    levels["user"].mkdir()
    with pytest.raises(UsageError, match="cannot read"):
        settings.load()


def test_an_empty_file_and_empty_values_give_nothing(levels: dict[str, Path]) -> None:
    levels["user"].write_text("# nothing\n")
    levels["system"].write_text("color:\nprofiles:\n")
    assert settings.load(env={"HOME": "/nowhere", "XDG_CONFIG_HOME": os.environ["XDG_CONFIG_HOME"]}).given == {}


def test_yaml_words_for_no_and_yes_mean_never_and_always(levels: dict[str, Path]) -> None:
    levels["user"].write_text("color: no\n")
    assert settings.load().get(keys.COLOR) == "never"


def test_explaining_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(InvalidInput) as caught:
        settings.load().explain("time-zone")
    assert caught.value.problems[0].nearest == "time_zone"


def test_the_table_is_consistent() -> None:
    assert len({key.env for key in keys.KEYS}) == len(keys.KEYS) == len(keys.BY_NAME)
    for key in keys.KEYS:
        assert key.doc.endswith(".")
        assert key.allowed
        if key.default is not None and key.default_text is None:
            assert key.read(key.default) == key.default


@pytest.mark.parametrize("value", [True, 0, -1, 1.5, "x", "", [], {}, 10**9])
def test_a_count_is_no_other_thing(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        keys.SLOTS.read(value)


def test_without_files_yaml_is_not_imported() -> None:
    code = "import sys; from gpuctl.config import settings; settings.load(); print(*({'yaml', 'keyring', 'subprocess'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
