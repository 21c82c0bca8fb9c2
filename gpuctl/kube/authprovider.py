"""Credentials of the kind that lived inside kubectl (``auth-provider``: oidc, gcp), through the ``kubernetes`` package.

A token that still lasts is used as it stands. Only to get another one is the package imported, with three of its habits held off: it
would write the kubeconfig (no persister is given), it would refresh an OIDC token without verifying the issuer when the kubeconfig
names no authority for it (the public ones are named), and it goes on anonymously when it failed (that is an error here).
"""

import base64
import binascii
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from gpuctl.base.errors import AuthError
from gpuctl.kube.credentials import Credential
from gpuctl.kube.kubeconfig import Chosen
from gpuctl.model import decoding

EARLY_S = 30.0
_PAST = "1970-01-01T00:00:00Z"
_TOKENS = {"oidc": "id-token", "gcp": "access-token", "azure": "access-token"}


class _Claims(msgspec.Struct):
    exp: float | None = None


class AuthProviderCredentials:
    """Credentials from an ``auth-provider`` entry."""

    def __init__(self, chosen: Chosen, *, base: Credential, now: Callable[[], float] = time.time) -> None:
        assert chosen.user.auth_provider is not None  # whoever makes one has looked
        self._context = chosen.name
        self._name = chosen.user.auth_provider.name
        self._config: dict[str, Any] = dict(chosen.user.auth_provider.config or {})
        self._base = base
        self._now = now
        self._lock = threading.Lock()
        self._refused: set[str] = set()

    def current(self, limit_s: float) -> Credential:
        """The token in the entry while it lasts, else a new one.

        Raises:
            AuthError: there is no new one; says why as far as the package tells.
        """
        del limit_s  # the package has no time limits to hand it to; it asks one issuer
        with self._lock:
            token = str(self._config.get(_TOKENS.get(self._name, ""), "") or "")
            if not token or token in self._refused or not self._lasts(token):
                token = self._renew(token)
                self._config[_TOKENS.get(self._name, "id-token")] = token
            return Credential(authorization=f"Bearer {token}", certificate=self._base.certificate, key=self._base.key)

    def renewed(self, refused: Credential) -> bool:
        """Mark what was refused, so that the next one is new."""
        with self._lock:
            token = (refused.authorization or "").removeprefix("Bearer ")
            if token in self._refused:
                return False
            self._refused.add(token)
            return True

    def _lasts(self, token: str) -> bool:
        ends = _end_of_jwt(token) if self._name == "oidc" else _instant(self._config.get("expiry") or self._config.get("expires-on"))
        return ends is None or ends - EARLY_S > self._now()

    def _renew(self, former: str) -> str:
        if self._name == "oidc" and not self._config.get("refresh-token"):
            raise self._error("the OIDC token has expired, and there is no refresh-token")
        try:
            from kubernetes.client import Configuration  # type: ignore[import-not-found, unused-ignore]
            from kubernetes.config.kube_config import KubeConfigLoader  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise AuthError(
                f"the credentials of {self._context} are of the kind auth-provider {self._name}, which needs the kubernetes package",
                code="kubernetes-package-missing",
                hint="pip install 'gpuctl-cli[auth-providers]'",
            ) from None
        config = dict(self._config)
        if former in self._refused:
            config["expiry"] = _PAST
        if self._name == "oidc" and not (config.get("idp-certificate-authority") or config.get("idp-certificate-authority-data")):
            import certifi

            config["idp-certificate-authority"] = certifi.where()
        entry = {
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": "https://localhost"}}],
            "users": [{"name": "it", "user": {"auth-provider": {"name": self._name, "config": config}}}],
        }
        found = Configuration()
        try:
            KubeConfigLoader(config_dict=entry, config_persister=None).load_and_set(found)
        except Exception as error:  # the package and what it calls raise a dozen kinds
            raise self._error(f"{type(error).__name__} while asking for a new token") from None
        token = str(found.api_key.get("authorization", "")).removeprefix("Bearer ").strip()
        if not token or token == former:
            raise self._error("no new token was given")
        # The package puts what it got into the mapping it was given: the new end, and a refresh token that may be good only once.
        former_end = self._config.get("expiry")
        self._config = config
        if config.get("expiry") in {former_end, _PAST}:
            config.pop("expiry", None)
        return token

    def _error(self, cause: str) -> AuthError:
        return AuthError(
            f"the auth-provider {self._name or '(without a name)'} of {self._context} gave no credentials",
            code="auth-provider-failed",
            cause=cause,
            hint=f"log in again with your cluster's own tool, then try: kubectl --context {self._context} auth whoami",
        )


def _end_of_jwt(token: str) -> float | None:
    """The instant a JWT ends; 0 for what is no JWT, so that it is renewed. Only the server checks signatures."""
    try:
        body = token.split(".")[1]
        return decoding.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), _Claims).exp
    except (IndexError, binascii.Error, ValueError, msgspec.DecodeError):
        return 0.0


def _instant(value: Any) -> float | None:
    if isinstance(value, datetime):
        return value.timestamp()
    try:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp() if value else None
    except ValueError:
        return None
