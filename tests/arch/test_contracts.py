"""Rooms and directions: the contracts of pyproject.toml hold, and they can fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.arch.sources import PACKAGE, ROOT


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    """Run the contracts over the package below ``root``."""
    return subprocess.run(
        [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_every_contract_holds() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("base/duration.py", "from gpuctl.model import job", "Imports between rooms run downward only"),
        ("policy/values.py", "def late():\n    from gpuctl.config import paths", "Imports between rooms run downward only"),
        ("model/job.py", "import subprocess", "model and policy do no I/O"),
        ("config/files.py", "import rich", "typer and rich are the terminal's"),
        ("cli/session.py", "import keyring", "keyring is config's"),
        ("cli/session.py", "import sqlite3", "Devices, the store and sealing are the local cluster's"),
        ("controllers/status.py", "import gpuctl.cli", "Imports between rooms run downward only"),
        ("controllers/status.py", "import httpx", "Nobody speaks HTTP or Kubernetes outside remote and kube"),
        ("stray/__init__.py", "", "gpuctl.stray"),
    ],
)
def test_a_wrong_import_is_caught(file: str, line: str, broken: str, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "gpuctl", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    target = tmp_path / "gpuctl" / file
    target.parent.mkdir(exist_ok=True)
    with target.open("a") as opened:
        opened.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode != 0
    assert broken in done.stdout
