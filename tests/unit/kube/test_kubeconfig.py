"""Kubeconfig files: found, merged, refused, and what an Api makes of them."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpuctl.base.errors import InvalidInput, NotFoundError
from gpuctl.kube.api import open_api
from gpuctl.kube.kubeconfig import load, locations
from gpuctl.kube.objects.meta import Object
from gpuctl.kube.opening import open_transport
from gpuctl.kube.proxies import proxy_for
from tests.integration.certificates import Authority
from tests.unit.kube.server import QUICKLY, serving


def config(**changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "res-a",
        "clusters": [{"name": "c", "cluster": {"server": "https://c.example:6443"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "res-a", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}}],
    } | changes


def written(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document) if not isinstance(document, str) else document, "utf-8")
    return path


def test_the_first_file_wins_and_entries_are_taken_whole(tmp_path: Path) -> None:
    one = written(tmp_path / "1" / "config", config(users=[{"name": "u", "user": {"username": "me"}}]))
    two = written(
        tmp_path / "2" / "config",
        config(
            **{"current-context": "res-b"},
            users=[{"name": "u", "user": {"token": "from-two"}}, {"name": "v", "user": {"tokenFile": "token"}}],
            contexts=[{"name": "res-b", "context": {"cluster": "c", "user": "v"}}],
        ),
    )
    found = load([tmp_path / "absent", one, two])
    assert found.current_context == "res-a"
    assert set(found.contexts) == {"res-a", "res-b"}
    assert (found.choose("res-a").user.username, found.choose("res-a").user.token) == ("me", "")
    assert found.choose("res-b").user_directory == two.parent
    assert found.choose("res-b").cluster_directory == one.parent


def test_the_environment_names_the_files(tmp_path: Path) -> None:
    assert locations({"KUBECONFIG": "/a::/b:/a", "HOME": "/home/x"}) == [Path("/a"), Path("/b")]
    assert locations({"KUBECONFIG": "", "HOME": "/home/x"}) == [Path("/home/x/.kube/config")]


def test_no_kubeconfig_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as failed:
        open_api(None, env={"HOME": str(tmp_path)})
    assert failed.value.code == "no-kubeconfig"
    assert str(tmp_path / ".kube" / "config") in failed.value.message


def test_a_context_that_does_not_exist_names_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path / "config", config())
    with pytest.raises(NotFoundError) as failed:
        open_api("res-aa", env={"KUBECONFIG": str(path)})
    assert failed.value.hint == "did you mean res-a?"
    with pytest.raises(NotFoundError) as far:
        open_api("zzzzzz", env={"KUBECONFIG": str(path)})
    assert far.value.hint == "contexts: res-a"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("clusters: [unclosed\ntoken: s3cret", "is not YAML"),
        ("just words", "is not a kubeconfig"),
        (config(clusters="no"), "is not a kubeconfig"),
        (config(clusters=[]), "points at cluster c, which no file has"),
        (config(users=[]), "points at user u, which no file has"),
        (config(clusters=[{"name": "c", "cluster": {}}]), "which has no server"),
        (config(clusters=[{"name": "c", "cluster": {"server": "https://x", "certificate-authority-data": "%%"}}]), "not base64"),
        (
            config(clusters=[{"name": "c", "cluster": {"server": "https://x", "certificate-authority": "gone.crt"}}]),
            "cannot read certificate-authority",
        ),
    ],
)
def test_what_cannot_be_read_is_told_without_its_content(document: Any, words: str, tmp_path: Path) -> None:
    path = written(tmp_path / "config", document)
    with pytest.raises(InvalidInput) as failed:
        open_api(None, env={"KUBECONFIG": str(path)})
    told = f"{failed.value.message} {failed.value.cause}"
    assert words in told
    assert "s3cret" not in told
    assert failed.value.code == "bad-kubeconfig"


def test_the_namespace_said_wins_over_the_contexts(tmp_path: Path) -> None:
    path = written(tmp_path / "config", config())
    env = {"KUBECONFIG": str(path)}
    assert open_api(None, env=env).namespace == "team-a"
    assert open_api(None, env=env, namespace="team-b").namespace == "team-b"
    path = written(path, config(contexts=[{"name": "res-a", "context": {"cluster": "c", "user": "u"}}]))
    assert open_api(None, env=env).namespace == "default"


def test_nothing_is_written_and_nothing_is_asked(tmp_path: Path) -> None:
    path = written(tmp_path / "config", config())
    before = path.stat()
    open_api("res-a", env={"KUBECONFIG": str(path), "HOME": str(tmp_path)})
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [each.name for each in tmp_path.iterdir()] == ["config"]


def test_json_is_a_kubeconfig_too(tmp_path: Path) -> None:
    path = written(tmp_path / "config", json.dumps(config()))
    assert open_api(None, env={"KUBECONFIG": str(path)}).server == "https://c.example:6443"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ({"token": "t"}, {"authorization": "Bearer t"}),
        ({"token": "t", "tokenFile": "token"}, {"authorization": "Bearer from-the-file"}),
        ({"username": "me", "password": "pw"}, {"authorization": f"Basic {base64.b64encode(b'me:pw').decode()}"}),
        ({}, {}),
        (
            {"token": "t", "as": "bob", "as-groups": ["g"], "as-uid": "7", "as-user-extra": {"Sc/ope": ["v"]}},
            {"impersonate-user": "bob", "impersonate-group": "g", "impersonate-uid": "7", "impersonate-extra-sc%2fope": "v"},
        ),
    ],
    ids=["token", "token file first", "password", "nobody", "impersonation"],
)
def test_users_of_every_kind(user: dict[str, Any], expected: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-the-file\n")
    with serving(lambda request: request.answer(200, {})) as server:
        path = written(
            tmp_path / "config", config(clusters=[{"name": "c", "cluster": {"server": server.url}}], users=[{"name": "u", "user": user}])
        )
        api = open_api(None, env={"KUBECONFIG": str(path), "HOME": str(tmp_path)}, timeouts=QUICKLY)
        api.get("/version", Object)
        api.close()
        headers = server.requests[0].headers
    assert {name: headers.get(name) for name in expected} == expected
    assert ("authorization" in headers) == bool(user)


def test_a_pod_uses_its_service_account(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("pod-token")
    (tmp_path / "namespace").write_text("team-p")
    (tmp_path / "ca.crt").write_bytes(Authority().pem)
    env = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    transport, endpoint = open_transport(
        None, env=env, timeouts=QUICKLY, trace=None, interactive=False, kubeconfig=None, service_account=tmp_path
    )
    assert (endpoint.context, endpoint.namespace, endpoint.server) == ("in-cluster", "team-p", "https://10.0.0.1:443")
    assert transport.connection.credentials.current(1.0).authorization == "Bearer pod-token"
    with pytest.raises(NotFoundError):
        open_api("in-cluster", env={"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("server", "env", "configured", "expected"),
    [
        ("https://c.example", {}, None, None),
        ("https://c.example", {"HTTPS_PROXY": "http://p:1"}, None, "http://p:1"),
        ("https://c.example", {"https_proxy": "p:1"}, None, "http://p:1"),
        ("http://c.example", {"HTTPS_PROXY": "http://p:1"}, None, None),
        ("https://c.example", {"ALL_PROXY": "http://p:1"}, None, None),
        ("https://c.example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example"}, None, None),
        ("https://c.example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "ample"}, None, "http://p:1"),
        ("https://c.example", {"HTTPS_PROXY": "http://p:1", "no_proxy": " .example , x"}, None, None),
        ("https://example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example"}, None, "http://p:1"),
        ("https://c.example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*.example"}, None, None),
        ("https://c.example:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "c.example:443"}, None, "http://p:1"),
        ("https://c.example:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "c.example:6443"}, None, None),
        ("https://10.1.2.3", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, None, None),
        ("https://11.1.2.3", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "10.0.0.0/8"}, None, "http://p:1"),
        ("https://[fd00::1]:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "fd00::/8"}, None, None),
        ("https://[fd00::1]:6443", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "[fd00::1]"}, None, None),
        ("https://10.1.2.3", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "nonsense/99"}, None, "http://p:1"),
        ("https://localhost:1", {"HTTPS_PROXY": "http://p:1"}, None, None),
        ("https://127.0.0.2:1", {"HTTPS_PROXY": "http://p:1"}, None, None),
        ("https://c.example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, None, None),
        ("https://c.example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}, "socks5://q", "socks5://q"),
    ],
)
def test_proxies_follow_kubectls_rules(server: str, env: dict[str, str], configured: str | None, expected: str | None) -> None:
    assert proxy_for(server, configured=configured, env=env) == expected
