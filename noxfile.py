"""Every check of the project: ``nox`` runs the quick ones, ``nox -s NAME`` one of them, ``nox -l`` lists them."""

import sys
import zipfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "arch", "tests", "generated"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
SHIPPED = (
    "gpuctl/py.typed",
    "share/bash-completion/completions/gpuctl",
    "share/fish/vendor_completions.d/gpuctl.fish",
    "share/gpuctl/schema/job-file.json",
    "share/man/man1/gpuctl.1",
    "share/zsh/site-functions/_gpuctl",
)
"""What a wheel must hold besides the modules."""


def install(session: nox.Session, *groups: str) -> None:
    """The package as it stands, with some dependency groups."""
    session.install("--editable", ".", *nox.project.dependency_groups(PYPROJECT, *groups))


@nox.session
def lint(session: nox.Session) -> None:
    """Style, likely bugs, formatting."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install(session, "types")
    session.run("mypy")


@nox.session
def arch(session: nox.Session) -> None:
    """Rooms and their directions, strings that name modules, what commands load."""
    install(session, "lint", "test")
    session.run("lint-imports")
    session.run("pytest", "tests/arch", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """All tests but the real jobs, on every Python found (``nox -s tests-3.12 -- -k name``)."""
    install(session, "test")
    session.run("pytest", "-m", "not e2e", *session.posargs)


@nox.session
def e2e(session: nox.Session) -> None:
    """Real torchrun and Ray jobs."""
    install(session, "test", "e2e")
    session.run("pytest", "-m", "e2e", *session.posargs)


@nox.session(python=PYTHONS[0], venv_backend="uv")
def minimums(session: nox.Session) -> None:
    """The tests with the oldest of everything that pyproject.toml allows, on the oldest Python."""
    session.install("--resolution=lowest-direct", "--editable", ".")
    session.install(*nox.project.dependency_groups(PYPROJECT, "test"))  # satisfied ones stay as they are
    session.run("uv", "pip", "list", external=True)
    session.run("pytest", "-m", "not e2e", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation; a warning is an error."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "docs"))
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--nitpicky", "-b", "html", "docs", "docs/_build/html")


@nox.session
def generated(session: nox.Session) -> None:
    """Rewrite completion scripts, man page, reference and schemas; fail if that changed anything (commit them and run again)."""
    install(session)
    before = session.run("git", "diff", "--stat", silent=True, external=True)
    session.run("python", "-m", "gpuctl.cli.generate")
    if session.run("git", "diff", "--stat", silent=True, external=True) != before:
        session.run("git", "--no-pager", "diff", "--stat", "--", "completions", "docs", external=True)
        session.error("generated files were out of date; they are rewritten now")
    session.run("python", "-m", "gpuctl.cli.generate", "--check")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build sdist and wheel, install the wheel where nothing else is, run it, list its files."""
    session.install("build")
    out = Path(session.create_tmp()).resolve()
    session.run("python", "-m", "build", "--outdir", str(out), ".", silent=True)
    built = max(out.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    names = zipfile.ZipFile(built).namelist()
    print("\n".join(names))
    missing = [each for each in SHIPPED if not any(name.endswith(each) for name in names)]
    if missing:
        session.error(f"not in {built.name}: {', '.join(missing)}")
    clean = out / "clean"
    session.run(sys.executable, "-m", "venv", "--clear", str(clean), external=True)
    session.run(str(clean / "bin" / "pip"), "install", "--quiet", str(built), external=True)
    own = {f"XDG_{name}": str(out / "home") for name in ("STATE_HOME", "CONFIG_HOME", "CACHE_HOME", "DATA_HOME")}
    session.env |= own  # its jobs are not those of whoever runs this
    with session.chdir(out):  # not in the checkout, whose gpuctl/ would be imported instead
        session.run(str(clean / "bin" / "gpuctl"), "--version", external=True)
        session.run(str(clean / "bin" / "gpuctl"), "jobs", external=True)
        session.run(str(clean / "bin" / "gpuctl"), "run", "-j", "1x1", "--", "true", external=True)


@nox.session
def perf(session: nox.Session) -> None:
    """How fast things are, as ratios to an empty Python in the same run; nothing is asserted."""
    install(session)
    session.run("python", "-m", "tests.perf", *session.posargs)
