"""What must not be loaded where start-up counts: help, Tab and lists."""

import subprocess
import sys

import pytest

# Heavy, or not for this path. A module on this list costs every Tab or every list of every user.
NEVER = (
    "aiohttp",
    "asyncio",
    "click",
    "cronsim",
    "cryptography",
    "httpx",
    "keyring",
    "kubernetes",
    "multiprocessing",
    "numpy",
    "pydantic",
    "pynvml",
    "ray",
    "requests",
    "rich",
    "torch",
)
PURE = ("typer", "msgspec", "sqlite3", "yaml")
"""What else the fastest paths do without."""

_PROBE = """
import sys
from gpuctl.cli.main import main
try:
    code = main(sys.argv[2:])
except SystemExit as ended:
    code = ended.code
sys.stderr.write("loaded:" + ",".join(name for name in sys.argv[1].split(",") if name in sys.modules) + "\\n")
sys.exit(code)
"""


def loaded(*argv: str, watch: tuple[str, ...] = NEVER) -> set[str]:
    """Which of ``watch`` are loaded after ``gpuctl ARGV`` in a process of its own."""
    done = subprocess.run([sys.executable, "-c", _PROBE, ",".join(watch), *argv], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.rsplit("loaded:", 1)[1].strip().split(",")) - {""}


@pytest.mark.parametrize(
    "argv",
    [["--help"], ["submit", "--help"], ["jobs"], ["jobs", "-o", "json"], ["_complete", "jobs", ""], ["history"], ["help", "exit-codes"]],
    ids=" ".join,
)
def test_light_commands_load_nothing_heavy(argv: list[str]) -> None:
    assert loaded(*argv) == set()


def test_the_version_is_told_before_the_parser_is_loaded() -> None:
    assert loaded("--version", watch=(*NEVER, *PURE)) == set()


def test_help_of_the_program_reads_no_file_and_no_database() -> None:
    assert loaded("--help", watch=("sqlite3", "yaml")) == set()


def test_importing_gpuctl_is_as_cheap_as_an_empty_module() -> None:
    probe = "import sys; before = set(sys.modules); import gpuctl; print(*(set(sys.modules) - before - {'gpuctl'}))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert {name for name in done.stdout.split() if not name.startswith("_")} <= {"typing", "collections", "functools", "re", "copyreg"} | {
        name for name in done.stdout.split() if name.split(".")[0] in sys.stdlib_module_names
    }
    assert not any(name.startswith("gpuctl.") for name in done.stdout.split())


def test_the_probe_can_fail() -> None:
    assert loaded("version", watch=("gpuctl", "typer")) == {"gpuctl", "typer"}


def test_a_list_of_a_clusters_jobs_does_without_what_places_and_explains_them() -> None:
    unwanted = ("gpuctl.policy.placement", "gpuctl.policy.explain", "gpuctl.policy.windows", "gpuctl.clusters.kubernetes.inventory")
    probe = "import sys, gpuctl.clusters.kubernetes.listing; print(*(set(sys.argv[1:]) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", probe, *unwanted], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
