"""What every test gets: a home of its own, so that no test meets another one, nor the jobs and settings of whoever runs the tests."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test depends on how busy the machine is: an example may take its time, and so may making one.
settings.register_profile("gpuctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gpuctl")

# A shell without job control starts what it puts into the background with Ctrl-C ignored, and children inherit that: half the tests of
# interruption would wait for ever, depending on how the tests were started.
signal.signal(signal.SIGINT, signal.default_int_handler)

_OF_THE_TERMINAL = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "VIRTUAL_ENV", "CONDA_PREFIX")


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh HOME with XDG directories and a lock directory below it; no GPUCTL_* and no terminal settings in the environment."""
    base = tmp_path_factory.mktemp("home")
    for name in [*_OF_THE_TERMINAL, *(name for name in os.environ if name.startswith("GPUCTL_"))]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(base))
    for name in ("STATE_HOME", "CONFIG_HOME", "CACHE_HOME", "DATA_HOME", "RUNTIME_DIR"):
        directory = base / name.lower()
        directory.mkdir(mode=0o700)
        monkeypatch.setenv(f"XDG_{name}", str(directory))
    monkeypatch.setenv("GPUCTL_LOCK_DIR", str(base / "locks"))
    return base
