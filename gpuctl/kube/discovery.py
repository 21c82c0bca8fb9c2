"""What an API server offers: groups, versions, kinds. Asked for in one request per root, and kept on disk per context.

Servers since 1.26 answer with everything at once (aggregated discovery); an older one is asked group by group.
"""

import dataclasses
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from gpuctl.kube.errors import ApiFailure, NotFound
from gpuctl.kube.resources import Resource
from gpuctl.model import decoding

if TYPE_CHECKING:
    from pathlib import Path

    from gpuctl.kube.transport import Transport

FRESH_S = 600.0
"""How long the cache on disk is believed. An engine installed meanwhile is seen after that, or when ``fresh`` is asked."""
FORMAT = 1
_AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


class _ResponseKind(msgspec.Struct, gc=False):
    kind: str = ""


class _Subresource(msgspec.Struct, gc=False):
    subresource: str = ""


class _Kind(msgspec.Struct, rename="camel", gc=False):
    resource: str = ""
    response_kind: _ResponseKind | None = None
    scope: str = ""
    verbs: list[str] | None = None
    subresources: list[_Subresource] | None = None


class _Served(msgspec.Struct, gc=False):
    version: str = ""
    resources: list[_Kind] | None = None
    freshness: str = ""


class _Named(msgspec.Struct, gc=False):
    name: str = ""


class _Group(msgspec.Struct, gc=False):
    metadata: _Named = msgspec.field(default_factory=_Named)
    versions: list[_Served] | None = None


class _GroupList(msgspec.Struct, gc=False):
    kind: str = ""
    items: list[_Group] | None = None


class _LegacyVersion(msgspec.Struct, gc=False):
    version: str = ""


class _LegacyGroup(msgspec.Struct, gc=False):
    name: str = ""
    versions: list[_LegacyVersion] | None = None


class _LegacyGroups(msgspec.Struct, gc=False):
    groups: list[_LegacyGroup] | None = None
    versions: list[str] | None = None


class _LegacyKind(msgspec.Struct, gc=False):
    name: str = ""
    kind: str = ""
    namespaced: bool = False
    verbs: list[str] | None = None


class _LegacyKinds(msgspec.Struct, gc=False):
    resources: list[_LegacyKind] | None = None


class Offered(msgspec.Struct, frozen=True, gc=False):
    """One kind in one version. ``subresources`` are names such as ``status`` and ``log``."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    def resource(self) -> Resource:
        """As an address."""
        return Resource(self.group, self.version, self.plural, self.kind, self.namespaced)


class _Cache(msgspec.Struct):
    format: int
    at: float
    offered: tuple[Offered, ...]
    unread: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Discovery:
    """What a server offers, as of ``at`` (UNIX time).

    Attributes:
        offered: every kind in every version; within a group the server's preferred version is first.
        unread: groups that could not be read now (an aggregated server that is down): unknown, not absent.
    """

    offered: tuple[Offered, ...]
    at: float
    unread: tuple[str, ...] = ()

    def has(self, resource: Resource) -> bool:
        """Whether this very kind and version is served."""
        return any(
            each.plural == resource.plural and each.group == resource.group and each.version == resource.version for each in self.offered
        )

    def find(self, group: str, plural: str, *, versions: Iterable[str] = ()) -> Resource | None:
        """The kind in the first of ``versions`` that is served, or without any in the version the server prefers; None if absent."""
        served = {each.version: each for each in reversed(self.offered) if each.group == group and each.plural == plural}
        wanted = list(versions) or [each.version for each in self.offered if each.group == group and each.plural == plural]
        return next((served[version].resource() for version in wanted if version in served), None)

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """The address of a manifest's kind."""
        return next((each.resource() for each in self.offered if each.kind == kind and each.resource().api_version == api_version), None)

    def unknown(self, group: str) -> bool:
        """Whether the group exists but could not be read."""
        return group in self.unread


def discover(transport: "Transport", *, fresh: bool = False) -> Discovery:
    """From the cache, or asked and then kept. See :meth:`gpuctl.kube.api.Api.discovery`."""
    if not fresh and transport.cache is not None:
        kept = _read(transport.cache)
        if kept is not None:
            return kept
    offered: list[Offered] = []
    unread: list[str] = []
    for root in ("/api", "/apis"):
        _ask(transport, root, offered, unread)
    found = Discovery(offered=tuple(offered), at=time.time(), unread=tuple(unread))
    if transport.cache is not None and not unread:
        _write(transport.cache, found)
    return found


def _ask(transport: "Transport", root: str, offered: list[Offered], unread: list[str]) -> None:
    answer = transport.send("GET", root, accept=_AGGREGATED)
    found = transport.decode(answer, _GroupList)
    if found.kind != "APIGroupDiscoveryList":
        _ask_each(transport, root, transport.decode(answer, _LegacyGroups), offered, unread)
        return
    for group in found.items or ():
        for served in group.versions or ():
            if served.freshness == "Stale" and not served.resources:
                unread.append(group.metadata.name)
            offered += [
                Offered(
                    group=group.metadata.name,
                    version=served.version,
                    plural=kind.resource,
                    kind=kind.response_kind.kind if kind.response_kind else "",
                    namespaced=kind.scope == "Namespaced",
                    verbs=tuple(kind.verbs or ()),
                    subresources=tuple(sub.subresource for sub in kind.subresources or ()),
                )
                for kind in served.resources or ()
            ]


def _ask_each(transport: "Transport", root: str, groups: _LegacyGroups, offered: list[Offered], unread: list[str]) -> None:
    places = [("", version) for version in groups.versions or ()]
    places += [(group.name, each.version) for group in groups.groups or () for each in group.versions or ()]
    for group, version in places:
        try:
            answer = transport.send("GET", f"{root}/{group}/{version}" if group else f"{root}/{version}")
        except NotFound:
            continue
        except ApiFailure:
            if not group:
                raise
            unread.append(group)
            continue
        kinds = transport.decode(answer, _LegacyKinds).resources or ()
        subs: dict[str, list[str]] = {}
        for kind in kinds:
            plural, slash, sub = kind.name.partition("/")
            if slash:
                subs.setdefault(plural, []).append(sub)
        offered += [
            Offered(
                group=group,
                version=version,
                plural=kind.name,
                kind=kind.kind,
                namespaced=kind.namespaced,
                verbs=tuple(kind.verbs or ()),
                subresources=tuple(subs.get(kind.name, ())),
            )
            for kind in kinds
            if "/" not in kind.name
        ]


def _read(path: "Path") -> Discovery | None:
    try:
        kept = decoding.decode(path.read_bytes(), _Cache)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    if kept.format != FORMAT or not 0 <= time.time() - kept.at < FRESH_S:
        return None
    return Discovery(offered=kept.offered, at=kept.at, unread=kept.unread)


def _write(path: "Path", found: Discovery) -> None:
    """Whole or not at all; a cache that cannot be written is done without."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_bytes(msgspec.json.encode(_Cache(format=FORMAT, at=found.at, offered=found.offered)))
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
