"""``auth-provider`` entries: tokens that last, and the package behind the rest with its habits held off."""

import base64
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from gpuctl.base.errors import AuthError
from gpuctl.kube.authprovider import AuthProviderCredentials
from gpuctl.kube.credentials import Credential
from gpuctl.kube.kubeconfig import AuthProvider, Chosen, Cluster, Context, User

NOW = 2_000_000_000.0


def jwt(ends: float | None) -> str:
    body = base64.urlsafe_b64encode(json.dumps({"exp": ends} if ends is not None else {}).encode()).decode().rstrip("=")
    return f"h.{body}.s"


def credentials(name: str, **config: Any) -> AuthProviderCredentials:
    user = User(auth_provider=AuthProvider(name=name, config={key.replace("_", "-"): value for key, value in config.items()}))
    chosen = Chosen(
        name="res-a", context=Context(), cluster=Cluster(server="x"), user=user, cluster_directory=Path(), user_directory=Path()
    )
    return AuthProviderCredentials(chosen, base=Credential(), now=lambda: NOW)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A ``kubernetes`` package that notes how it was used and gives ``token``."""
    seen: dict[str, Any] = {"token": "Bearer fresh", "runs": 0}

    class Configuration:
        def __init__(self) -> None:
            self.api_key: dict[str, str] = {}

    class KubeConfigLoader:
        def __init__(self, *, config_dict: Any, config_persister: Any) -> None:
            seen.update(config=config_dict, persister=config_persister)

        def load_and_set(self, configuration: Configuration) -> None:
            seen["runs"] += 1
            seen["config"]["users"][0]["user"]["auth-provider"]["config"] |= seen.get("learns", {})
            if isinstance(seen["token"], Exception):
                raise seen["token"]
            if seen["token"]:
                configuration.api_key["authorization"] = seen["token"]

    for name, holds in {
        "kubernetes": {},
        "kubernetes.client": {"Configuration": Configuration},
        "kubernetes.config": {},
        "kubernetes.config.kube_config": {"KubeConfigLoader": KubeConfigLoader},
    }.items():
        module = types.ModuleType(name)
        module.__dict__.update(holds)
        monkeypatch.setitem(sys.modules, name, module)
    return seen


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("oidc", {"id_token": jwt(NOW + 600)}),
        ("oidc", {"id_token": jwt(None)}),
        ("gcp", {"access_token": "t", "expiry": "2999-01-01T00:00:00Z"}),
        ("gcp", {"access_token": "t"}),
    ],
)
def test_a_token_that_lasts_needs_no_package(name: str, config: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    assert credentials(name, **config).current(1).authorization == f"Bearer {next(iter(config.values()))}"


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(AuthError) as failed:
        credentials("oidc", id_token=jwt(NOW - 1), refresh_token="r").current(1)
    assert failed.value.code == "kubernetes-package-missing"
    assert "pip install" in (failed.value.hint or "")


def test_a_new_token_is_asked_for_with_the_issuer_verified_and_nothing_written(package: dict[str, Any]) -> None:
    it = credentials("oidc", id_token=jwt(NOW - 1), refresh_token="r")
    package["token"] = f"Bearer {jwt(NOW + 60)}"
    assert it.current(1).authorization == package["token"]
    assert it.current(1).authorization == package["token"]
    assert package["runs"] == 1
    assert package["persister"] is None
    config = package["config"]["users"][0]["user"]["auth-provider"]["config"]
    assert Path(config["idp-certificate-authority"]).is_file(), "without it the package would verify nobody"


def test_an_authority_of_the_issuer_is_left_as_it_is(package: dict[str, Any]) -> None:
    credentials("oidc", id_token=jwt(NOW - 1), refresh_token="r", idp_certificate_authority="/my.crt").current(1)
    assert package["config"]["users"][0]["user"]["auth-provider"]["config"]["idp-certificate-authority"] == "/my.crt"


@pytest.mark.parametrize("token", ["", RuntimeError("s3cret")])
def test_a_provider_that_gives_nothing_is_an_error(token: Any, package: dict[str, Any]) -> None:
    package["token"] = token
    with pytest.raises(AuthError) as failed:
        credentials("gcp", access_token="old", expiry="1999-01-01T00:00:00Z").current(1)
    assert failed.value.code == "auth-provider-failed"
    assert "s3cret" not in f"{failed.value.message}{failed.value.cause}"


def test_an_expired_oidc_token_that_cannot_be_refreshed_is_told(package: dict[str, Any]) -> None:
    with pytest.raises(AuthError) as failed:
        credentials("oidc", id_token=jwt(NOW - 1)).current(1)
    assert "no refresh-token" in (failed.value.cause or "")
    assert package["runs"] == 0


def test_a_refused_token_is_renewed_once(package: dict[str, Any]) -> None:
    it = credentials("gcp", access_token="old")
    first = it.current(1)
    assert it.renewed(first)
    assert it.current(1).authorization == "Bearer fresh"
    assert not it.renewed(first)


def test_what_the_package_learns_is_used_the_next_time(package: dict[str, Any]) -> None:
    it = credentials("gcp", access_token="old", expiry="1999-01-01T00:00:00Z")
    package["learns"] = {"access-token": "fresh", "expiry": "2999-01-01T00:00:00Z"}
    for _ in range(3):
        assert it.current(1).authorization == "Bearer fresh"
    assert package["runs"] == 1
    it = credentials("oidc", id_token=jwt(NOW - 1), refresh_token="once")
    package.update(token=f"Bearer {jwt(NOW - 2)}", learns={"refresh-token": "twice"})
    it.current(1)
    package["learns"] = {}
    package["token"] = f"Bearer {jwt(NOW + 60)}"
    it.current(1)
    assert package["config"]["users"][0]["user"]["auth-provider"]["config"]["refresh-token"] == "twice"
