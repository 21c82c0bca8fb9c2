import os
import pwd
from pathlib import Path

import pytest

from gpuctl.base.errors import UsageError
from gpuctl.config import paths


def test_xdg_variables_win_and_relative_ones_are_ignored() -> None:
    env = {"HOME": "/home/anna", "XDG_STATE_HOME": "/fast/state", "XDG_CACHE_HOME": "cache"}
    assert paths.state_dir(env) == "/fast/state/gpuctl"
    assert paths.cache_dir(env) == "/home/anna/.cache/gpuctl"
    assert paths.config_dir(env) == "/home/anna/.config/gpuctl"
    assert paths.data_dir(env) == "/home/anna/.local/share/gpuctl"
    assert paths.user_config(env) == "/home/anna/.config/gpuctl/config.yaml"


def test_runtime_dir_without_a_login_is_private_to_the_user() -> None:
    assert paths.runtime_dir({"XDG_RUNTIME_DIR": "/run/user/7"}) == "/run/user/7/gpuctl"
    assert paths.runtime_dir({"TMPDIR": "/scratch"}) == f"/scratch/gpuctl-{os.getuid()}"
    assert paths.runtime_dir({}) == f"/tmp/gpuctl-{os.getuid()}"


def test_without_home_the_password_database_is_asked() -> None:
    assert paths.home({}) == pwd.getpwuid(os.getuid()).pw_dir
    assert paths.home({"HOME": "not/absolute"}) == pwd.getpwuid(os.getuid()).pw_dir


def test_nobody_knows_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> pwd.struct_passwd:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UsageError) as caught:
        paths.state_dir({})
    assert caught.value.code == "no-home"
    assert caught.value.hint is not None
    assert paths.state_dir({"XDG_STATE_HOME": "/state"}) == "/state/gpuctl"


def test_the_project_file_is_looked_for_up_to_the_git_root(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    deep = tmp_path / "repo" / "src" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / paths.PROJECT_FILE).touch()
    assert paths.project_config(str(deep), env) == str(tmp_path / paths.PROJECT_FILE)
    (tmp_path / "repo" / ".git").mkdir()
    assert paths.project_config(str(deep), env) is None
    (tmp_path / "repo" / paths.PROJECT_FILE).touch()
    assert paths.project_config(str(deep), env) == str(tmp_path / "repo" / paths.PROJECT_FILE)


def test_a_file_above_is_not_believed_outside_of_home_and_git(tmp_path: Path) -> None:
    inner = tmp_path / "shared" / "mine"
    inner.mkdir(parents=True)
    (tmp_path / "shared" / paths.PROJECT_FILE).touch()
    env = {"HOME": str(tmp_path / "home")}
    assert paths.project_config(str(inner), env) is None
    (inner / paths.PROJECT_FILE).touch()
    assert paths.project_config(str(inner), env) == str(inner / paths.PROJECT_FILE)
    (tmp_path / "shared" / ".git").mkdir()
    (inner / paths.PROJECT_FILE).unlink()
    assert paths.project_config(str(inner), env) == str(tmp_path / "shared" / paths.PROJECT_FILE)
