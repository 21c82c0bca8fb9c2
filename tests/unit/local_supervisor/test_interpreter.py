"""Which Python is chosen, and what is known of it."""

import os
import sys
from pathlib import Path

import pytest

from gpuctl.base.errors import NotFoundError, UsageError
from gpuctl.clusters.local import interpreter


def fake(path: Path, text: str = "#!/bin/sh\nexit 1\n") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def no_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "_own", lambda: None)


def test_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "repo" / "sub"
    work.mkdir(parents=True)
    (tmp_path / "repo" / ".git").mkdir()
    on_path = fake(tmp_path / "bin" / "python3")
    own = fake(tmp_path / "own" / "bin" / "python")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "own"))
    monkeypatch.setattr(sys, "executable", own)
    conda = fake(tmp_path / "conda" / "bin" / "python")
    venv = fake(tmp_path / "venv" / "bin" / "python")
    env = {"PATH": str(tmp_path / "bin"), "CONDA_PREFIX": str(tmp_path / "conda"), "VIRTUAL_ENV": str(tmp_path / "venv")}
    project = fake(tmp_path / "repo" / ".venv" / "bin" / "python")
    explicit = fake(tmp_path / "special" / "python3.12")

    def chosen(python: str | None = None) -> tuple[str, str]:
        found = interpreter.find(python, str(work), env)
        return found.path, found.why

    assert chosen(explicit) == (explicit, "--python")
    assert chosen() == (project, ".venv")
    os.unlink(project)
    assert chosen() == (venv, "VIRTUAL_ENV")
    del env["VIRTUAL_ENV"]
    assert chosen() == (conda, "CONDA_PREFIX")
    del env["CONDA_PREFIX"]
    assert chosen() == (own, "gpuctl's own")
    (tmp_path / "own" / "pipx_metadata.json").write_text("{}")
    assert chosen() == (on_path, "PATH")
    (tmp_path / "own" / "pipx_metadata.json").unlink()
    (tmp_path / "own" / "uv-receipt.toml").write_text("")
    assert chosen() == (on_path, "PATH")
    fake(work / ".venv" / "bin" / "python")
    fake(work / ".venv" / "bin" / "python3")
    assert [found.why for found in interpreter.all_found(str(work), env)] == [".venv", "PATH"], "each environment once"


def test_a_venv_of_a_parent_counts_only_inside_one_project(tmp_path: Path, no_own: None) -> None:
    fake(tmp_path / ".venv" / "bin" / "python")
    work = tmp_path / "elsewhere"
    work.mkdir()
    on_path = fake(tmp_path / "bin" / "python3")
    assert interpreter.find(None, str(work), {"PATH": str(tmp_path / "bin")}).path == on_path


def test_an_environments_directory_will_do(tmp_path: Path) -> None:
    path = fake(tmp_path / "env" / "bin" / "python")
    assert interpreter.find("env", str(tmp_path), {"PATH": ""}).path == path


@pytest.mark.parametrize(("name", "words"), [("gone", "does not exist"), ("text", "cannot be run"), ("empty", "without bin/python")])
def test_an_explicit_one_that_is_wrong_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "text").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=words) as caught:
        interpreter.find(name, str(tmp_path), {"PATH": ""})
    assert caught.value.code == "bad-interpreter"


def test_none_at_all(tmp_path: Path, no_own: None) -> None:
    with pytest.raises(NotFoundError) as caught:
        interpreter.find(None, str(tmp_path), {"PATH": str(tmp_path)})
    assert caught.value.code == "no-interpreter"


def test_modules_are_looked_for_without_importing_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loud.py").write_text("raise SystemExit('imported')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert interpreter.has_module(sys.executable, "loud")
    assert not interpreter.has_module(sys.executable, "no_such_module_here")
    assert not interpreter.has_module(sys.executable, "no_such.module_here")


def test_a_broken_interpreter_is_told(tmp_path: Path) -> None:
    path = fake(tmp_path / "python", "#!/bin/sh\necho 'libpython is gone' >&2\nexit 127\n")
    with pytest.raises(UsageError) as caught:
        interpreter.has_module(path, "torch")
    assert caught.value.cause == "libpython is gone"


def test_answers_are_remembered_until_packages_change(tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    log = tmp_path / "asked"
    path = fake(tmp_path / "python", f"#!/bin/sh\necho asked >> {log}\necho yes\necho {packages}\n")
    cache = str(tmp_path / "cache")

    def times() -> int:
        assert interpreter.has_module(path, "torch", cache_directory=cache)
        return len(log.read_text().splitlines())

    assert [times(), times()] == [1, 1]
    (packages / "new").mkdir()
    os.utime(packages, ns=(1, 1))
    assert [times(), times()] == [2, 2]
    os.utime(path, ns=(2, 2))
    assert times() == 3


def test_a_damaged_cache_is_no_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "interpreters.json").write_text("{[")
    assert interpreter.has_module(sys.executable, "json", cache_directory=str(cache))
    assert b"json" in (cache / "interpreters.json").read_bytes()


def test_the_command_that_installs(tmp_path: Path) -> None:
    path = fake(tmp_path / "my env" / "bin" / "python")
    assert interpreter.install_command(path, "torch") == f"'{path}' -m pip install torch"
    assert interpreter.install_command("/v/bin/python", "ray") == "/v/bin/python -m pip install 'ray[default]'"
    (tmp_path / "my env" / "pyvenv.cfg").write_text("home = /usr\nuv = 0.9.1\n")
    assert interpreter.install_command(path, "torch") == f"uv pip install --python '{path}' torch"
