"""Sealed environments: bound to their job and key, never in clear on disk, gone at the end."""

import os
import stat
import threading
import time
from pathlib import Path

import msgspec
import pytest

from gpuctl.base.errors import GpuctlError
from gpuctl.clusters.local import seal
from tests.fakes.machine import LocalPlace

KEY = bytes(range(32))
CONTENT = seal.Secrets(environment={"A": "b", "BYTES": "\udcff"}, secrets={"TOKEN": "s3cret"})


def test_what_is_sealed_comes_back() -> None:
    blob = seal.seal(CONTENT, key=KEY, job_id="one")
    assert b"s3cret" not in blob
    assert seal.unseal(blob, key=KEY, job_id="one") == CONTENT
    assert CONTENT.merged() == {"A": "b", "BYTES": "\udcff", "TOKEN": "s3cret"}


def test_each_blob_has_its_own_nonce() -> None:
    assert seal.seal(CONTENT, key=KEY, job_id="one") != seal.seal(CONTENT, key=KEY, job_id="one")


@pytest.mark.parametrize("how", ["other job", "other key", "changed", "cut"])
def test_a_blob_that_was_tampered_with_is_refused(how: str) -> None:
    blob = bytearray(seal.seal(CONTENT, key=KEY, job_id="one"))
    key, job_id = (bytes(32), "one") if how == "other key" else (KEY, "two" if how == "other job" else "one")
    if how == "changed":
        blob[-1] ^= 1
    elif how == "cut":
        del blob[8:]
    with pytest.raises(GpuctlError) as caught:
        seal.unseal(bytes(blob), key=key, job_id=job_id)
    assert caught.value.code == "seal-broken"


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = str(tmp_path / "key")
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(seal.load_key(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert os.listdir(tmp_path) == ["key"]


def test_a_damaged_key_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(GpuctlError) as caught:
        seal.load_key(str(tmp_path / "key"))
    assert caught.value.code == "key-damaged"


def test_no_secret_and_no_token_is_ever_on_disk_in_clear(home: Path) -> None:
    place = LocalPlace()
    told = place.submission("sh", "-c", 'echo "${#WANDB} ${GPUCTL_TOKEN:-none} ${GPUCTL_TOKEN_FILE:-none}"')
    environment = {**told.environment, "GPUCTL_TOKEN": "tok-3n", "GPUCTL_TOKEN_FILE": "tok-f1le"}
    told = msgspec.structs.replace(told, environment=environment, secrets={"WANDB": "very-s3cret"})
    waiting = msgspec.structs.replace(told, request_id="other", spec=msgspec.structs.replace(told.spec, hold=True))
    job = place.cluster.launch(told).job
    held = place.cluster.launch(waiting).job
    assert [each.name for each in place.cluster.wait([job.name], stop=threading.Event(), timeout=30)] == [job.name]
    everything = b"".join(path.read_bytes() for path in Path(place.paths.root).rglob("*") if path.is_file())
    for value in (b"very-s3cret", b"tok-3n", b"tok-f1le"):
        assert value not in everything
    assert b"11 none none" in everything
    ends = time.monotonic() + 10
    while os.path.exists(place.paths.sealed(job.id)):  # by whoever wrote the end down, right after that
        assert time.monotonic() < ends
        time.sleep(0.02)
    assert os.path.exists(place.paths.sealed(held.id))
    place.cluster.stop(held.name)
    assert not os.path.exists(place.paths.sealed(held.id))
    place.close()
