import os
import sys
import threading
import types
from pathlib import Path

import pytest

from gpuctl.base.errors import AuthError
from gpuctl.config import secrets
from gpuctl.config.profiles import ClusterEntry, Profile

LAB = Profile(name="lab", clusters=(ClusterEntry(name="ws", kind="local"),), store="file")


class NoKeyringError(RuntimeError):
    pass


class Ring(types.ModuleType):
    """A keyring in memory, in place of the package."""

    def __init__(self) -> None:
        super().__init__("keyring")
        self.kept: dict[tuple[str, str], str] = {}
        self.trouble: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()

    def _gate(self) -> None:
        self.hold.wait()
        if self.trouble:
            raise self.trouble

    def get_password(self, service: str, name: str) -> str | None:
        self._gate()
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, value: str) -> None:
        self._gate()
        self.kept[service, name] = value

    def delete_password(self, service: str, name: str) -> None:
        del self.kept[service, name]


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Ring:
    made = Ring()
    monkeypatch.setitem(sys.modules, "keyring", made)
    return made


def test_the_environment_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(" from-file\n")
    secrets.open_store("file").write("lab", "from-store")
    found = secrets.token(LAB, env={**os.environ, "GPUCTL_TOKEN": "from-env", "GPUCTL_TOKEN_FILE": str(path)})
    assert found is not None
    assert found.reveal() == "from-env"
    found = secrets.token(LAB, env={**os.environ, "GPUCTL_TOKEN_FILE": str(path)})
    assert found is not None
    assert found.reveal() == "from-file"
    found = secrets.token(LAB)
    assert found is not None
    assert found.reveal() == "from-store"


def test_a_value_is_never_shown() -> None:
    found = secrets.Token("s3cret", source="GPUCTL_TOKEN")
    assert "s3cret" not in f"{found!r} {found} {found.source}"


@pytest.mark.parametrize("content", [b"", b"  \n", b"\xff\xfe"])
def test_a_token_file_without_a_token(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(AuthError) as caught:
        secrets.token(LAB, env={"GPUCTL_TOKEN_FILE": str(path)})
    assert caught.value.code == "token-file"
    with pytest.raises(AuthError):
        secrets.token(LAB, env={"GPUCTL_TOKEN_FILE": str(tmp_path / "none")})


def test_the_file_store_is_private_and_refuses_to_be_otherwise() -> None:
    store = secrets.open_store("file")
    assert store.read("lab") is None
    assert store.delete("lab") is False
    store.write("lab", "one")
    store.write("other", "two")
    path = Path(os.environ["XDG_DATA_HOME"]) / "gpuctl" / "tokens.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert store.delete("lab") is True
    assert (store.read("lab"), store.read("other")) == (None, "two")
    path.chmod(0o644)
    with pytest.raises(AuthError) as caught:
        store.read("other")
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("content", ["", "[]", '{"lab": 3}', "{"])
def test_a_damaged_file_store_says_so(content: str) -> None:
    store = secrets.open_store("file")
    store.write("lab", "one")
    path = Path(os.environ["XDG_DATA_HOME"]) / "gpuctl" / "tokens.json"
    path.write_text(content)
    with pytest.raises(AuthError, match="damaged"):
        store.read("lab")


def test_the_keyring_keeps_and_forgets(ring: Ring) -> None:
    store = secrets.open_store("keyring")
    assert store.read("lab") is None
    store.write("lab", "one")
    assert ring.kept == {("gpuctl", "lab"): "one"}
    assert store.read("lab") == "one"
    assert store.delete("lab") is True
    assert store.delete("lab") is False


def test_a_machine_without_keyring_names_the_file_store(ring: Ring) -> None:
    ring.trouble = NoKeyringError("no backend, value one")
    with pytest.raises(AuthError) as caught:
        secrets.open_store("keyring").write("lab", "one")
    assert caught.value.code == "no-keyring"
    assert caught.value.hint == "gpuctl login --store file"
    assert caught.value.cause is None


def test_a_missing_package_names_the_file_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(AuthError) as caught:
        secrets.open_store("keyring").read("lab")
    assert caught.value.code == "no-keyring"


def test_a_locked_keyring_says_that_it_refused(ring: Ring) -> None:
    ring.trouble = PermissionError("locked")
    with pytest.raises(AuthError) as caught:
        secrets.open_store("keyring").read("lab")
    assert (caught.value.code, caught.value.cause) == ("keyring-failed", "PermissionError")


def test_a_keyring_that_never_answers_is_given_up(ring: Ring) -> None:
    ring.hold.clear()
    try:
        with pytest.raises(AuthError) as caught:
            secrets.KeyringStore(seconds=0.05).read("lab")
        assert caught.value.code == "keyring-timeout"
    finally:
        ring.hold.set()
