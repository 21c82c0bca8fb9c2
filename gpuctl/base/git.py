"""A git repository elsewhere: which commit a name means there, and the files of a commit in a directory here.

Nobody is ever asked for a password: git uses the credentials that the person has set up, or one of two secrets of the job. In pods the same
is done by the in-pod program, in the shell's words.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gpuctl.base.errors import GpuctlError, InvalidInput, Problem, UnavailableError, nearest

TOKEN = "GIT_TOKEN"
"""The secret that is the password of an https address; the user name that goes with it is GIT_USERNAME, or one that hosts ignore."""
SSH_KEY = "GIT_SSH_KEY"
"""The secret that is the private key of an ssh address."""
CREDENTIALS = (TOKEN, SSH_KEY)
FETCH_SECONDS = 600.0
"""How long a fetch may take in all."""
ASK_SECONDS = 20.0
"""How long a repository may take to say which commit a name means: somebody waits for the submit."""

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?\Z")
_HELPER = '!f() { echo "username=${GIT_USERNAME:-x-access-token}"; echo "password=$GIT_TOKEN"; }; f'
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20"


class Repository(NamedTuple):
    """An address, and what opens it.

    Attributes:
        url: without credentials.
        env: of the person.
        secrets: of the job; only those in ``CREDENTIALS`` are used, and only for this host.
    """

    url: str
    env: Mapping[str, str]
    secrets: Mapping[str, str] = {}

    def commit_of(self, ref: str, *, seconds: float = ASK_SECONDS) -> str:
        """The commit that ``ref`` (a branch, a tag, a whole commit) is now.

        Raises:
            InvalidInput: the repository answers and has no such ref.
            UnavailableError: ``repository-unreachable``, it does not answer, in time or at all.
            GpuctlError: ``git-missing``.
        """
        if _COMMIT.match(ref):
            return ref
        tag = f"refs/tags/{ref}"
        found = self._refs([ref, tag, f"{tag}^{{}}", f"refs/heads/{ref}"], seconds=seconds)
        for name in (f"{tag}^{{}}", tag, f"refs/heads/{ref}", ref):
            if name in found:
                return found[name]
        raise self._missing(ref, seconds=seconds)

    def fetch(self, ref: str, destination: str, *, commit: str | None, seconds: float = FETCH_SECONDS) -> str:
        """The files of ``commit`` (None: of what ``ref`` is now) in the new directory ``destination``, with submodules; the commit.

        Raises:
            InvalidInput: there is no such ref.
            UnavailableError: ``repository-unreachable``.
            GpuctlError: ``git-missing``; ``repository-unusable``, git says why.
        """
        ends = time.monotonic() + seconds

        def run(*words: str) -> str:
            return self._run(["-C", destination, *words], seconds=max(1.0, ends - time.monotonic()))

        os.makedirs(destination, mode=0o700)
        run("init", "--quiet")
        run("remote", "add", "origin", self.url)
        try:
            run("fetch", "--quiet", "--depth=1", "origin", commit or ref)
        except UnavailableError as error:
            if commit is None or commit == ref:
                raise self._missing(ref, seconds=ASK_SECONDS) if "couldn't find remote ref" in (error.cause or "") else error from None
            run("fetch", "--quiet", "--tags", "origin", ref)  # a host that hands out names only
        run("checkout", "--quiet", "--detach", commit or "FETCH_HEAD")
        if os.path.exists(os.path.join(destination, ".gitmodules")):
            run("submodule", "update", "--quiet", "--init", "--recursive", "--depth=1")
        return run("rev-parse", "HEAD").strip()

    def _refs(self, patterns: Sequence[str], *, seconds: float) -> dict[str, str]:
        lines = self._run(["ls-remote", "--", self.url, *patterns], seconds=seconds).splitlines()
        return {name: commit for commit, _, name in (line.partition("\t") for line in lines) if name}

    def _missing(self, ref: str, *, seconds: float) -> InvalidInput:
        there = self._refs(["refs/heads/*", "refs/tags/*"], seconds=seconds)
        known = [name.split("/", 2)[2] for name in there if not name.endswith("^{}")]
        short = bool(re.fullmatch(r"[0-9a-f]{4,39}", ref))
        allowed = "a commit with all of its 40 digits" if short else ", ".join(known[:8]) + (", ..." if len(known) > 8 else "") or None
        message = f"{self.url} has none of that name"
        problem = Problem(field="spec.git.ref", message=message, got=ref, allowed=allowed, nearest=nearest(ref, known))
        return InvalidInput(f"cannot use {self.url}@{ref}", [problem], code="no-such-ref")

    def _run(self, words: Sequence[str], *, seconds: float) -> str:
        with self._opened() as (options, env):
            try:
                process = subprocess.Popen(
                    ["git", *options, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=env,
                    start_new_session=True,  # what git starts is to end with it
                )
            except OSError as error:
                raise GpuctlError(
                    f"cannot read {self.url}: git cannot be started", code="git-missing", cause=error.strerror, hint="install git"
                ) from error
            try:
                out, err = process.communicate(timeout=seconds)
            except BaseException as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise self._away(f"no answer in {seconds:g} s") from error
                raise
        if process.returncode != 0:
            said = _last_words(err.decode(errors="replace")) or f"git ended with {process.returncode}"
            if any(word in words for word in ("fetch", "ls-remote", "submodule")):
                raise self._away(said)
            raise GpuctlError(f"cannot use {self.url}", code="repository-unusable", cause=said)
        return out.decode(errors="replace")

    def _away(self, cause: str) -> UnavailableError:
        hint = f"git ls-remote {self.url}"
        if re.search(r"could not read (Username|Password)|Authentication failed|Permission denied|terminal prompts disabled", cause):
            hint = f"--secret {TOKEN} for https, --secret {SSH_KEY}=@FILE (a deploy key) for ssh"
        return UnavailableError(f"cannot read {self.url}", code="repository-unreachable", cause=cause, hint=hint)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[list[str], dict[str, str]]]:
        """Options and environment of a git that asks nobody."""
        calm = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": "60"}
        env = {"GIT_SSH_COMMAND": _SSH, **self.env, **calm}
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # of a hook that submits: about another repository
            env.pop(name, None)
        options: list[str] = []
        host = re.match(r"https://[^/]+", self.url)
        if TOKEN in self.secrets and host is not None:
            env[TOKEN] = self.secrets[TOKEN]
            options = ["-c", f"credential.{host[0]}.helper=", "-c", f"credential.{host[0]}.helper={_HELPER}"]
        if SSH_KEY not in self.secrets:
            yield options, env
            return
        with tempfile.NamedTemporaryFile("w", prefix="gpuctl-key-") as file:  # mode 0600
            file.write(self.secrets[SSH_KEY].rstrip("\n") + "\n")
            file.flush()
            env["GIT_SSH_COMMAND"] = f"{_SSH} -o StrictHostKeyChecking=accept-new -o IdentitiesOnly=yes -i {file.name}"
            yield options, env


def _last_words(text: str) -> str:
    """What git said was wrong: its first fatal line, else its last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line.partition(": ")[2] for line in lines if line.startswith(("fatal: ", "error: "))]
    return (fatal or lines[-1:] or [""])[0]
