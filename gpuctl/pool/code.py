"""Facts about the code of a job: its directory, the git commit, and hashes by which a later change shows."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping

from gpuctl.base.errors import GpuctlError, InvalidInput
from gpuctl.base.git import Repository
from gpuctl.model.job import Code
from gpuctl.model.spec import GitSource

GIT_SECONDS = 5.0
"""How long git may take; a job is not held up by a repository on a slow disk."""

MOST_FILES = 200
LARGEST_FILE = 1 << 20
LARGEST_SUM = 8 << 20


def describe(workdir: str, *, script: str | None = None, env: Mapping[str, str] | None = None) -> Code:
    """The code below ``workdir`` (absolute): commit, branch and whether files differ from it, and the fingerprint of ``script``."""
    commit, branch, dirty = _git(workdir, env)
    return Code(workdir=workdir, commit=commit, branch=branch, dirty=dirty, fingerprint=fingerprint(workdir, script))


def of_repository(source: GitSource, *, env: Mapping[str, str], secrets: Mapping[str, str]) -> Code:
    """The code of a repository: the commit that its ref is now, so that every node and every attempt runs the same.

    A repository that this machine cannot read may be open to the nodes of a cluster: then the commit is not known.

    Raises:
        InvalidInput: ``no-such-ref``.
    """
    try:
        commit = Repository(source.url, env, secrets).commit_of(source.ref)
    except InvalidInput:
        raise
    except GpuctlError:
        commit = None
    return Code(workdir="", commit=commit, branch=None if commit == source.ref else source.ref)


def fingerprint(workdir: str, script: str | None) -> dict[str, str]:
    """SHA-256 by path (relative to ``workdir``) of the script and of the Python files next to it.

    Bounded, since it is on the way of every submit: 200 files, 1 MiB each, 8 MiB together; what is beyond is not watched.
    """
    if script is None or script == "-":
        return {}
    hashes: dict[str, str] = {}
    left = LARGEST_SUM
    for path in _watched(os.path.join(workdir, script)):
        digest, size = _hash(path, min(left, LARGEST_FILE))
        if digest is not None:
            hashes[os.path.relpath(path, workdir)] = digest
            left -= size
        if len(hashes) >= MOST_FILES:
            break
    return hashes


def _watched(script: str) -> Iterator[str]:
    yield script
    directory = os.path.dirname(script)
    try:
        siblings = sorted(os.listdir(directory))
    except OSError:
        return
    for name in siblings:
        path = os.path.join(directory, name)
        if name.endswith(".py") and path != script:
            yield path


def _hash(path: str, most: int) -> tuple[str | None, int]:
    """Digest and size; no digest for what is larger than ``most`` bytes, no regular file, or cannot be read."""
    try:
        # A FIFO or a device in the directory must not hold the submit.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None, 0
            content = file.read(most + 1)
    except OSError:
        return None, 0
    if len(content) > most:
        return None, 0
    return hashlib.sha256(content).hexdigest(), len(content)


def _git(workdir: str, env: Mapping[str, str] | None) -> tuple[str | None, str | None, bool]:
    """Commit, branch and whether tracked files differ, from one run of git; nothing outside a repository or without git."""
    if not _in_repository(workdir):
        return None, None, False
    import subprocess

    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=dirty"]
    surroundings = {**(os.environ if env is None else env), "LC_ALL": "C"}
    try:
        ran = subprocess.run(
            command, cwd=workdir, env=surroundings, stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, None, False
    if ran.returncode != 0:
        return None, None, False
    commit = branch = None
    dirty = False
    for line in ran.stdout.decode(errors="replace").splitlines():
        if line.startswith("# branch.oid "):
            commit = line[13:] if line[13:] != "(initial)" else None
        elif line.startswith("# branch.head "):
            branch = line[14:] if line[14:] != "(detached)" else None
        elif not line.startswith("#"):
            dirty = True
    return commit, branch, dirty


def _in_repository(directory: str) -> bool:
    while True:
        if os.path.exists(os.path.join(directory, ".git")):
            return True
        parent = os.path.dirname(directory)
        if parent == directory:
            return False
        directory = parent
