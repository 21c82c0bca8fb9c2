"""Kubeconfig files: found and merged as kubectl does, read, never written.

Of several files the first that says something wins: an entry of one name is taken whole from the first file that has it, and
``current-context`` from the first that sets it. Paths in a file are relative to that file. Source: the Kubernetes documentation,
"Organizing Cluster Access Using kubeconfig Files".
"""

import base64
import binascii
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gpuctl.base.errors import InvalidInput, NotFoundError, nearest
from gpuctl.model import decoding

CODE = "bad-kubeconfig"


class Extension(msgspec.Struct):
    """A named value of somebody else's inside an entry."""

    name: str = ""
    extension: Any = None


class Cluster(msgspec.Struct, rename="kebab"):
    """Where an API server is and whom it must prove to be."""

    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    proxy_url: str = ""
    disable_compression: bool = False
    extensions: list[Extension] | None = None


class ExecVariable(msgspec.Struct):
    """One variable for a plugin."""

    name: str
    value: str = ""


class Exec(msgspec.Struct, rename="camel"):
    """A credential plugin."""

    command: str
    api_version: str = ""
    args: list[str] | None = None
    env: list[ExecVariable] | None = None
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""


class AuthProvider(msgspec.Struct):
    """The kind of plugin that lived inside kubectl."""

    name: str = ""
    config: dict[str, Any] | None = None


class User(msgspec.Struct, rename="kebab"):
    """Who we are, in one or more of the ways Kubernetes knows."""

    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    username: str = ""
    password: str = ""
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    exec: Exec | None = None
    auth_provider: AuthProvider | None = None
    as_: str = msgspec.field(default="", name="as")
    as_uid: str = ""
    as_groups: list[str] | None = None
    as_user_extra: dict[str, list[str]] | None = None


class Context(msgspec.Struct):
    """A user at a cluster, with the namespace to be in."""

    cluster: str = ""
    user: str = ""
    namespace: str = ""


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: Cluster | None = None


class _NamedUser(msgspec.Struct):
    name: str
    user: User | None = None


class _NamedContext(msgspec.Struct):
    name: str
    context: Context | None = None


class _Document(msgspec.Struct, rename="kebab"):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chosen:
    """One context with what it points at. The directories are those of the files that the entries came from."""

    name: str
    context: Context
    cluster: Cluster
    user: User
    cluster_directory: Path
    user_directory: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kubeconfig:
    """Every file merged; each entry with the file it came from."""

    files: Sequence[Path]
    current_context: str
    contexts: Mapping[str, Context]
    clusters: Mapping[str, tuple[Cluster, Path]]
    users: Mapping[str, tuple[User, Path]]

    def choose(self, name: str | None) -> Chosen:
        """The context called ``name``, or the current one.

        Raises:
            NotFoundError: there is none; the nearest name is given.
            InvalidInput: it points at a cluster or user that no file has, or at a cluster without a server.
        """
        wanted = name or self.current_context
        if not wanted:
            raise NotFoundError(
                "no context is chosen, and the kubeconfig has no current-context", code="no-such-context", hint=self._known()
            )
        context = self.contexts.get(wanted)
        if context is None:
            close = nearest(wanted, self.contexts)
            raise NotFoundError(
                f"there is no context {wanted} in the kubeconfig",
                code="no-such-context",
                cause=f"read {', '.join(map(str, self.files))}",
                hint=f"did you mean {close}?" if close else self._known(),
            )
        cluster = self.clusters.get(context.cluster)
        if cluster is None or not cluster[0].server:
            what = "which has no server" if cluster else "which no file has"
            raise InvalidInput(f"context {wanted} points at cluster {context.cluster or '(none)'}, {what}", (), code=CODE)
        user = self.users.get(context.user)
        if user is None:
            if context.user:
                raise InvalidInput(f"context {wanted} points at user {context.user}, which no file has", (), code=CODE)
            user = (User(), cluster[1])
        return Chosen(
            name=wanted,
            context=context,
            cluster=cluster[0],
            user=user[0],
            cluster_directory=cluster[1].parent,
            user_directory=user[1].parent,
        )

    def _known(self) -> str:
        return f"contexts: {', '.join(sorted(self.contexts))}" if self.contexts else "kubectl config get-contexts lists none"


def locations(env: Mapping[str, str]) -> list[Path]:
    """The files to read, in order: those of KUBECONFIG, else ``~/.kube/config``."""
    named = [Path(part).expanduser() for part in env.get("KUBECONFIG", "").split(os.pathsep) if part]
    return list(dict.fromkeys(named)) or [Path(env.get("HOME") or Path.home()) / ".kube" / "config"]


def load(files: Sequence[Path]) -> Kubeconfig:
    """Read and merge; files that do not exist are left out.

    Raises:
        NotFoundError: none of them exists.
        InvalidInput: one cannot be read, or is no kubeconfig.
    """
    read: list[Path] = []
    current = ""
    contexts: dict[str, Context] = {}
    clusters: dict[str, tuple[Cluster, Path]] = {}
    users: dict[str, tuple[User, Path]] = {}
    for path in files:
        document = _read(path)
        if document is None:
            continue
        path = path.absolute()
        read.append(path)
        current = current or document.current_context or ""
        for entry in document.contexts or ():
            contexts.setdefault(entry.name, entry.context or Context())
        for place in document.clusters or ():
            clusters.setdefault(place.name, (place.cluster or Cluster(), path))
        for person in document.users or ():
            users.setdefault(person.name, (person.user or User(), path))
    if not read:
        raise NotFoundError(
            f"there is no kubeconfig: {', '.join(map(str, files))} does not exist",
            code="no-kubeconfig",
            hint="export KUBECONFIG=FILE, or put the file your cluster's administrator gave you at ~/.kube/config",
        )
    return Kubeconfig(files=read, current_context=current, contexts=contexts, clusters=clusters, users=users)


def material(data: str, file: str, directory: Path, *, field: str) -> bytes | None:
    """What ``field`` holds: inline base64 first, else the file it names (relative to ``directory``), else None.

    Raises:
        InvalidInput: the data is no base64, or the file cannot be read.
    """
    if data:
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidInput(f"{field}-data in the kubeconfig is not base64", (), code=CODE) from None
    if not file:
        return None
    path = directory / Path(file).expanduser()
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read {field} {path} of the kubeconfig", (), code=CODE, cause=error.strerror or str(error)) from None


def _read(path: Path) -> _Document | None:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = path.read_text("utf-8")
        # The pure Python loader takes 25 times as long.
        raw = yaml.load(text, loader)  # a safe loader, both of them
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the kubeconfig {path}", (), code=CODE, cause=str(error)) from None
    except yaml.YAMLError as error:
        # Only the place: the text around it may hold a token.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else type(error).__name__
        raise InvalidInput(f"the kubeconfig {path} is not YAML", (), code=CODE, cause=where) from None
    try:
        return decoding.convert(raw or {}, _Document)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{path} is not a kubeconfig", (), code=CODE, cause=str(error)) from None
