"""Which files are somebody's code: those of the git work tree that hold a directory, or those below it, without what ignore files name.

Inside a git work tree: tracked files, and untracked ones that .gitignore does not name; git itself answers, so its own rules hold to the
letter. Outside of git: everything below the directory that .gitignore files do not name. In both cases without what .gpuctlignore names.
"""

import dataclasses
import fnmatch
import os
import re
from collections.abc import Iterable, Iterator

from gpuctl.base.errors import GpuctlError

IGNORE_FILE = ".gpuctlignore"


@dataclasses.dataclass(frozen=True)
class Selection:
    """The chosen files: paths relative to ``root``, in no order that means anything. ``root`` is the work tree's, or the directory."""

    root: str
    paths: tuple[str, ...]


def select(workdir: str) -> Selection:
    """The files that belong to the code in ``workdir`` (absolute).

    Raises:
        GpuctlError: ``snapshot-failed``, git cannot list the files of its work tree; ``code-unreadable``, a directory cannot be read.
    """
    root = git_root(workdir) or workdir
    rules = Ignore.read(root, IGNORE_FILE)
    found = _git_files(root) if root != workdir or _is_git(root) else _plain_files(root, rules)
    return Selection(root, tuple(path for path in found if not rules.ignores(path)))


def git_root(directory: str) -> str | None:
    """The root of the git work tree that holds ``directory``, None outside of one or without git."""
    import subprocess

    try:
        done = subprocess.run(
            ["git", "-C", directory, "rev-parse", "--show-toplevel"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError:
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 and done.stdout.strip() else None


def _is_git(directory: str) -> bool:
    return os.path.lexists(os.path.join(directory, ".git"))


def _git_files(root: str) -> Iterator[str]:
    """Tracked and untracked files of a work tree that are there now, relative to it; submodules' directories are walked."""
    import subprocess

    done = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise GpuctlError(f"cannot list the files of {root}", code="snapshot-failed", cause=os.fsdecode(done.stderr).strip())
    for name in dict.fromkeys(os.fsdecode(done.stdout).split("\0")):
        path = os.path.join(root, name)
        if not name or not os.path.lexists(path):
            continue  # deleted, and not yet told to git
        if os.path.isdir(path) and not os.path.islink(path):
            inner = _git_files(path) if _is_git(path) else _plain_files(path)
            yield from (os.path.join(name, each) for each in inner)
        else:
            yield name


def _plain_files(root: str, unwanted: "Ignore | None" = None) -> Iterator[str]:
    """Files below a directory that no .gitignore on the way names, relative to it; directories that ``unwanted`` names are not opened."""
    todo: list[tuple[str, tuple[Ignore, ...]]] = [("", (unwanted,) if unwanted is not None else ())]
    while todo:
        directory, above = todo.pop()
        rules = (*above, Ignore.read(os.path.join(root, directory), ".gitignore", below=directory))
        for entry in _entries(os.path.join(root, directory)):
            path = os.path.join(directory, entry.name)
            is_directory = entry.is_dir(follow_symlinks=False)
            if entry.name == ".git" or _ignored(path, rules, is_directory=is_directory):
                continue
            if is_directory:
                todo.append((path, rules))
            elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                yield path


def _entries(directory: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda each: each.name)
    except OSError as error:
        raise GpuctlError(
            f"cannot read the directory {directory}",
            code="code-unreadable",
            cause=error.strerror or str(error),
            hint=f"name it in {IGNORE_FILE} if it is no code",
        ) from error


def _ignored(path: str, rules: Iterable["Ignore"], *, is_directory: bool) -> bool:
    verdict = False
    for each in rules:
        found = each.verdict(path, is_directory=is_directory)
        verdict = verdict if found is None else found
    return verdict


class Ignore:
    """The rules of one ignore file, in gitignore's language (https://git-scm.com/docs/gitignore)."""

    def __init__(self, lines: Iterable[str], *, below: str = "") -> None:
        self._below = below
        self._rules = [rule for rule in map(_rule, lines) if rule is not None]

    @classmethod
    def read(cls, directory: str, name: str, *, below: str = "") -> "Ignore":
        """The rules of a file in ``directory``; none if it is not there."""
        try:
            with open(os.path.join(directory, name), encoding="utf-8", errors="surrogateescape") as file:
                return cls(file, below=below)
        except OSError:
            return cls((), below=below)

    def verdict(self, path: str, *, is_directory: bool) -> bool | None:
        """What the last rule that matches says: ignored or not; None when none matches. ``path`` is relative to the tree's root."""
        inner = os.path.relpath(path, self._below) if self._below else path
        result = None
        for pattern, negated, directories_only in self._rules:
            if (is_directory or not directories_only) and pattern.match(inner):
                result = not negated
        return result

    def ignores(self, path: str) -> bool:
        """Whether a file, or a directory that holds it, is ignored."""
        parts = path.split(os.sep)
        return any(self.verdict(os.sep.join(parts[:end]), is_directory=end < len(parts)) for end in range(1, len(parts) + 1))


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    text = re.sub(r"(?<!\\)\s+$", "", line.rstrip("\r\n"))
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    text = text[1:] if negated else text
    directories_only = text.endswith("/")
    text = text.rstrip("/")
    anchored = "/" in text
    text = text.lstrip("/")
    body = "".join(_piece(part) for part in re.split(r"(\*\*/|/\*\*|\*|\?|\[[^]]+\]|\\.)", text) if part)
    return re.compile(("" if anchored else r"(?:.*/)?") + body + r"\Z", re.DOTALL), negated, directories_only


def _piece(part: str) -> str:
    special = {"**/": r"(?:.*/)?", "/**": r"/.*", "*": r"[^/]*", "?": r"[^/]"}
    if part in special:
        return special[part]
    if part.startswith("[") and part.endswith("]") and len(part) > 2:
        return fnmatch.translate(part)[4:-3]
    if part.startswith("\\") and len(part) == 2:
        return re.escape(part[1])
    return re.escape(part)
