"""Credential plugins that work, and plugins in every other state."""

import base64
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from gpuctl.base.errors import AuthError
from gpuctl.base.exitcodes import ExitCode
from gpuctl.kube import pluginprocess
from gpuctl.kube.api import Api, open_api
from gpuctl.kube.credentials import TOKEN_FILE_S, Credential, TokenFile
from gpuctl.kube.errors import Unauthorized
from gpuctl.kube.objects.meta import Object
from tests.integration.certificates import Authority
from tests.unit.kube.server import QUICKLY, Request, Server, serving, status

V1, V1BETA1 = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"
COUNTING = """
import datetime, json, os, pathlib, sys
count = pathlib.Path(os.environ["COUNT"])
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
pathlib.Path(os.environ["COUNT"] + ".info").write_text(os.environ["KUBERNETES_EXEC_INFO"])
lasts = int(os.environ.get("LASTS", "3600"))
ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=lasts)
status = {"token": f"token-{number}"} | ({"expirationTimestamp": ends.strftime("%Y-%m-%dT%H:%M:%SZ")} if lasts else {})
print(json.dumps({"apiVersion": json.loads(os.environ["KUBERNETES_EXEC_INFO"])["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


class Place:
    """A kubeconfig with a plugin, and a server that accepts some tokens."""

    def __init__(self, directory: Path, server: Server) -> None:
        self.directory = directory
        self.server = server
        self.count = directory / "count"

    def api(self, script: str = COUNTING, *, interactive: bool = False, cluster: Any = None, env: Any = None, **exec_: Any) -> Api:
        program = self.directory / "plugin.py"
        program.write_text(script)
        variables = [{"name": "COUNT", "value": str(self.count)}, *({"name": k, "value": v} for k, v in (env or {}).items())]
        spec = {"apiVersion": V1, "command": sys.executable, "args": [str(program)], "env": variables, "interactiveMode": "Never"} | exec_
        path = self.directory / "config"
        path.write_text(
            json.dumps(
                {
                    "current-context": "res-a",
                    "clusters": [{"name": "c", "cluster": {"server": self.server.url} | (cluster or {})}],
                    "users": [{"name": "u", "user": {"exec": spec}}],
                    "contexts": [{"name": "res-a", "context": {"cluster": "c", "user": "u"}}],
                }
            )
        )
        inherited = {"KUBECONFIG": str(path), "HOME": str(self.directory), "PATH": os.environ["PATH"]}
        return open_api(None, env=inherited, timeouts=QUICKLY, interactive=interactive)

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Path(f"{self.count}.info").read_text())
        return found


@pytest.fixture
def place(tmp_path: Path) -> Any:
    with serving(lambda request: request.answer(200, {})) as server:
        yield Place(tmp_path, server)


def printing(version: str = V1, **status: str) -> str:
    """A plugin that prints this."""
    return f"print({json.dumps({'apiVersion': version, 'kind': 'ExecCredential', 'status': status})!r})"


def ask(api: Api) -> None:
    try:
        api.get("/version", Object)
    finally:
        api.close()


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_a_plugin_is_run_once_and_its_token_kept_on_disk_for_us_alone(place: Place, version: str) -> None:
    ask(place.api(apiVersion=version))
    ask(place.api(apiVersion=version))
    assert place.count.read_text() == "1"
    assert [request.headers["authorization"] for request in place.server.requests] == ["Bearer token-1"] * 2
    kept = list((place.directory / ".cache" / "gpuctl" / "kube" / "credentials").iterdir())
    assert [stat.S_IMODE(each.stat().st_mode) for each in kept] == [0o600]
    kept[0].chmod(0o644)
    ask(place.api(apiVersion=version))
    assert place.count.read_text() == "2", "a cache that others may read is not trusted"


@pytest.mark.parametrize("lasts", ["20", "0"], ids=["nearly over", "no end told"])
def test_what_ends_soon_or_tells_no_end_is_not_kept_over_processes(place: Place, lasts: str) -> None:
    ask(place.api(env={"LASTS": lasts}))
    ask(place.api(env={"LASTS": lasts}))
    assert place.count.read_text() == "2"


def test_a_refused_token_runs_the_plugin_once_more(place: Place) -> None:
    def script(request: Request) -> None:
        if request.headers["authorization"] == "Bearer token-2":
            request.answer(200, {})
        else:
            request.answer(401, status(401, "Unauthorized", "Unauthorized"))

    place.server.script = script
    ask(place.api())
    assert place.count.read_text() == "2"
    ask(place.api())
    assert place.count.read_text() == "2", "what worked is what was kept"


def test_a_plugin_whose_tokens_are_all_refused_is_run_twice_and_no_more(place: Place) -> None:
    place.server.script = lambda request: request.answer(401, status(401, "Unauthorized", "Unauthorized"))
    with pytest.raises(Unauthorized):
        ask(place.api())
    assert place.count.read_text() == "2"


def test_threads_share_one_run(place: Place) -> None:
    api = place.api()
    threads = [threading.Thread(target=lambda: api.get("/version", Object)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    api.close()
    assert place.count.read_text() == "1"
    assert len(place.server.requests) == 4


def test_a_plugin_learns_of_the_cluster_only_when_asked_to(place: Place) -> None:
    ask(place.api())
    assert place.told()["spec"] == {"interactive": False}
    pem = Authority().pem
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "x"}}
    cluster = {"certificate-authority-data": base64.b64encode(pem).decode(), "extensions": [extension]}
    ask(place.api(provideClusterInfo=True, cluster=cluster))
    assert place.told()["spec"]["cluster"] == {
        "server": place.server.url,
        "certificate-authority-data": base64.b64encode(pem).decode(),
        "config": {"audience": "x"},
    }


def test_a_relative_command_is_found_beside_the_kubeconfig(place: Place) -> None:
    program = place.directory / "bin" / "login"
    program.parent.mkdir()
    token = {"apiVersion": V1, "kind": "ExecCredential", "status": {"token": "beside"}}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(token)}'\n")
    program.chmod(0o755)
    ask(place.api(command="./bin/login", args=None))
    assert place.server.requests[0].headers["authorization"] == "Bearer beside"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"command": "no-such-login-program"}, "no-such-login-program was not found"),
        (
            {"script": "import sys; print('x', file=sys.stderr); print('token expired', file=sys.stderr); sys.exit(3)"},
            "it ended with 3: token expired",
        ),
        ({"script": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"}, "it died of signal 9"),
        ({"script": "print('welcome! s3cret')"}, "what it printed is not an ExecCredential"),
        ({"script": "print('{}')"}, "it printed an object without kind"),
        (
            {"script": printing()},
            "neither a token nor a certificate",
        ),
        (
            {"script": printing(clientCertificateData="x")},
            "a certificate without its key",
        ),
        (
            {"script": printing(V1BETA1, token="s3cret")},
            "the kubeconfig asks for",
        ),
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1 is not known"),
        ({"interactiveMode": "Always"}, "stdin is not a terminal"),
        ({"interactiveMode": "Sometimes"}, "interactiveMode Sometimes is unknown"),
    ],
)
def test_a_plugin_that_gives_nothing_is_an_error_and_never_an_anonymous_call(place: Place, changes: dict[str, Any], cause: str) -> None:
    with pytest.raises(AuthError) as failed:
        ask(place.api(**changes, installHint="apt install login"))
    assert failed.value.exit_code == ExitCode.AUTH
    assert cause in (failed.value.cause or "")
    assert "gave no credentials" in failed.value.message
    assert changes.get("command", sys.executable) in failed.value.message
    assert failed.value.hint
    assert "s3cret" not in f"{failed.value.message}{failed.value.cause}{failed.value.hint}"
    assert place.server.requests == []


def test_a_plugin_that_hangs_is_stopped_with_its_children(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpuctl.kube.execplugin.LIMIT_S", 0.5)
    pid = place.directory / "pid"
    script = f"import subprocess; p = subprocess.Popen(['sleep', '60']); open({str(pid)!r}, 'w').write(str(p.pid)); p.wait()"
    began = time.monotonic()
    with pytest.raises(AuthError) as failed:
        ask(place.api(script))
    assert time.monotonic() - began < 5
    assert "did not end within" in (failed.value.cause or "")
    child = int(pid.read_text())
    for _ in range(100):
        if not _alive(child):
            break
        time.sleep(0.05)
    assert not _alive(child)


def test_who_leaves_without_the_answer_leaves_no_plugin(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    leaving = f"""
import os, pathlib, threading, time
from gpuctl.kube import pluginprocess
words = ["sh", "-c", "echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 60"]
run = lambda: pluginprocess.run(words, env=os.environ, talking=False, limit_s=60)
threading.Thread(target=run, daemon=True).start()
while not pathlib.Path({str(pid)!r}).exists():
    time.sleep(0.01)
"""
    subprocess.run([sys.executable, "-c", leaving], check=True, timeout=60)
    for _ in range(100):
        if not _alive(int(pid.read_text())):
            break
        time.sleep(0.05)
    assert not _alive(int(pid.read_text()))


def test_several_requests_wait_for_one_that_fails_once(place: Place) -> None:
    api = place.api("import os; open(os.environ['COUNT'], 'a').write('x'); raise SystemExit(1)", installHint="apt install login")
    for _ in range(3):
        with pytest.raises(AuthError) as failed:
            ask(api)
        assert failed.value.hint == "kubectl --context res-a auth whoami    runs it as well"
    assert place.count.read_text() == "x"
    with pytest.raises(AuthError) as missing:
        ask(place.api(command="no-such-login-program", installHint="apt install login"))
    assert missing.value.hint == "apt install login"


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False


def test_a_plugin_never_outlasts_the_calls_own_time(place: Place) -> None:
    began = time.monotonic()
    api = place.api("import time; time.sleep(30)")
    with pytest.raises(AuthError):
        api.within(0.5).get("/version", Object)
    assert time.monotonic() - began < 5
    api.close()


def test_a_plugin_that_talks_has_more_time_once_it_has_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    monkeypatch.setattr(pluginprocess.os, "write", lambda descriptor, data: written.append(data) if descriptor == 2 else 0)
    script = "import sys, time; print('enter code 1234', file=sys.stderr, flush=True); time.sleep(1); print('done')"
    ended = pluginprocess.run([sys.executable, "-c", script], env=dict(os.environ), talking=True, limit_s=0.7)
    assert (ended.code, ended.output, ended.last_words) == (0, b"done\n", "enter code 1234")
    assert b"".join(written) == b"enter code 1234\n"


def test_a_token_file_is_read_again_every_minute_and_after_a_refusal(tmp_path: Path) -> None:
    now = [0.0]
    path = tmp_path / "token"
    path.write_text("one\n")
    it = TokenFile(path, base=Credential(certificate=b"c", key=b"k"), clock=lambda: now[0])
    assert it.current(1).authorization == "Bearer one"
    path.write_text("two")
    assert it.current(1).authorization == "Bearer one"
    now[0] += TOKEN_FILE_S + 1
    assert it.current(1) == Credential(authorization="Bearer two", certificate=b"c", key=b"k")
    path.write_text("three")
    assert it.renewed(it.current(1))
    assert it.current(1).authorization == "Bearer three"
    assert not it.renewed(it.current(1))
    path.unlink()
    now[0] += TOKEN_FILE_S + 1
    assert it.current(1).authorization == "Bearer three", "the last good one goes on"
    with pytest.raises(AuthError):
        TokenFile(path).current(1)


def test_secrets_have_no_repr() -> None:
    assert "s3cret" not in repr(Credential(authorization="Bearer s3cret", key=b"s3cret"))
