"""A real git repository on this disk."""

import subprocess
from pathlib import Path


class Repository:
    """Bare, with a branch ``main`` of two commits, the first tagged ``v1``; ``word`` holds ``one`` and then ``two``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "bare.git"
        self.url = f"file://{self.directory}"
        self.work = directory / "work-tree"
        self._git("init", "-q", "-b", "main", str(self.work), cwd=directory)
        (self.work / "sub").mkdir()
        (self.work / "sub" / "x.txt").write_text("deep\n")
        self.first = self.commit("one")
        self._git("tag", "-a", "v1", "-m", "v1")
        self.second = self.commit("two")
        self._git("clone", "-q", "--bare", str(self.work), str(self.directory), cwd=directory)

    def commit(self, word: str) -> str:
        """Commit another word to the work tree; the commit."""
        (self.work / "word").write_text(f"{word}\n")
        self._git("add", "-A")
        self._git("commit", "-qm", word)
        return self._git("rev-parse", "HEAD").strip()

    def push(self) -> None:
        """Bring the work tree's branch to the repository."""
        self._git("push", "-q", "--force", str(self.directory), "main")

    def _git(self, *words: str, cwd: Path | None = None) -> str:
        who = ["-c", "user.name=anna", "-c", "user.email=anna@lab.example"]
        return subprocess.run(["git", *who, *words], cwd=cwd or self.work, check=True, capture_output=True, text=True).stdout
