"""The door to one API server: typed reads, writes, watches and streams, each with a time limit and errors people can act on.

An :class:`Api` belongs to one kubeconfig context. It may be used by several threads at once. It talks only when a method is called, and
never changes the user's kubeconfig, current context or namespace.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from gpuctl.kube.paging import Listing, Page, pages
from gpuctl.kube.resources import ACCESS_REVIEWS, Resource, target

if TYPE_CHECKING:
    from gpuctl.kube.chunks import Chunks
    from gpuctl.kube.discovery import Discovery
    from gpuctl.kube.transport import Trace, Transport
    from gpuctl.kube.watch import Change
    from gpuctl.kube.websocket import WebSocket

T = TypeVar("T")
Params = Mapping[str, str | int | bool | Sequence[str]]
"""Query parameters. A sequence repeats the name (``command=a&command=b``), True is ``true``."""

PatchKind = Literal["merge", "json", "strategic", "apply"]
Propagation = Literal["Background", "Foreground", "Orphan"]

_PATCH_TYPES: dict[PatchKind, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
FIELD_MANAGER = "gpuctl"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Time limits in seconds, and how often a call that may be repeated is tried again.

    Attributes:
        connect: until a connection with its TLS handshake stands.
        read: the longest silence within an answer.
        call: one call with all its retries; each page of a list is one call.
        retries: further tries of a call that may be repeated.
    """

    connect: float = 5.0
    read: float = 30.0
    call: float = 60.0
    retries: int = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Access:
    """What a SelfSubjectAccessReview said. ``reason`` is the authorizer's and may be empty."""

    allowed: bool
    reason: str = ""


class Version(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """What ``/version`` says; ``git_version`` is such as ``v1.34.1``."""

    major: str = ""
    minor: str = ""
    git_version: str = ""


class _ReviewStatus(msgspec.Struct, gc=False):
    allowed: bool = False
    reason: str = ""


class _Review(msgspec.Struct, gc=False):
    status: _ReviewStatus = msgspec.field(default_factory=_ReviewStatus)


class Api:
    """One API server as one user of it.

    Every method raises :class:`gpuctl.kube.errors.ApiFailure` in one of its kinds, or :class:`gpuctl.base.errors.AuthError` when no
    credentials could be had. Paths come from :mod:`gpuctl.kube.resources`. Decoding is partial: a type names the fields that are read.

    Attributes:
        context: the context's name, as errors name it.
        namespace: where namespaced things go unless something else is said.
        server: the API server's URL, for people.
    """

    def __init__(self, *, context: str, namespace: str, server: str, transport: "Transport") -> None:
        self.context = context
        self.namespace = namespace
        self.server = server
        self._transport = transport

    def within(self, seconds: float) -> "Api":
        """The same door with one budget: its calls together end ``seconds`` from now (those without an end, such as watches, excepted)."""
        return Api(context=self.context, namespace=self.namespace, server=self.server, transport=self._transport.within(seconds))

    def get(self, path: str, type_: type[T], *, params: Params | None = None) -> T:
        """Read one object, or anything else that answers a GET with JSON."""
        answer = self._transport.send("GET", path, params=params)
        return self._transport.decode(answer, type_)

    def text(self, path: str, *, params: Params | None = None) -> str:
        """Read something that answers a GET with text (``/readyz``, a short log)."""
        return self._transport.send("GET", path, params=params, accept="*/*").body.decode("utf-8", "replace")

    def list(self, path: str, item: type[T], *, params: Params | None = None, limit: int = 500) -> Listing[T]:
        """Every object of a collection, read in pages of ``limit``; starts again when the server forgot the list in between (410)."""
        items: list[T] = []
        version = ""
        for page in self.pages(path, item, params=params, limit=limit):
            if page.first:
                items.clear()
            items += page.items
            version = page.resource_version
        return Listing(items=items, resource_version=version)

    def pages(self, path: str, item: type[T], *, params: Params | None = None, limit: int = 500) -> Iterator[Page[T]]:
        """The same page by page, for lists too long to hold. A page with ``first`` begins the list: forget what came before it."""
        return pages(self._transport, path, item, params=params, limit=limit)

    def create(self, path: str, body: Any, type_: type[T], *, dry_run: bool = False, params: Params | None = None) -> T:
        """Create ``body`` in the collection at ``path`` (or POST to a subresource such as ``eviction``).

        Raises:
            AlreadyExists: the name is taken.
        """
        return self._write("POST", path, body, type_, params=params, dry_run=dry_run)

    def replace(self, path: str, body: Any, type_: type[T], *, dry_run: bool = False, params: Params | None = None) -> T:
        """Put ``body`` in the place of the object at ``path``.

        Raises:
            Conflict: ``metadata.resourceVersion`` is given and no longer the object's.
        """
        return self._write("PUT", path, body, type_, params=params, dry_run=dry_run)

    def patch(
        self,
        path: str,
        body: Any,
        type_: type[T],
        *,
        kind: PatchKind = "merge",
        dry_run: bool = False,
        force: bool = False,
        params: Params | None = None,
    ) -> T:
        """Change the object at ``path``. ``force`` takes fields over from other managers, with ``kind="apply"`` only.

        Server-side apply may be repeated and is retried; the other kinds are sent once.
        """
        extra: dict[str, str | int | bool | Sequence[str]] = dict(params or {})
        if kind == "apply" and force:
            extra["force"] = True
        return self._write(
            "PATCH", path, body, type_, params=extra, dry_run=dry_run, content=_PATCH_TYPES[kind], repeatable=kind == "apply"
        )

    def delete(
        self,
        path: str,
        *,
        propagation: Propagation = "Background",
        uid: str | None = None,
        resource_version: str | None = None,
        grace_s: int | None = None,
        dry_run: bool = False,
        params: Params | None = None,
    ) -> None:
        """Delete the object at ``path``, or with a ``labelSelector`` in ``params`` what it selects of a collection.

        ``propagation`` says what happens to the objects it owns. With ``uid`` only if it is this very object, with ``resource_version``
        only if it has not changed since. ``grace_s`` are the seconds between SIGTERM and SIGKILL of a pod; None leaves that to the pod.

        Raises:
            NotFound: nothing is there.
            Conflict: a precondition failed.
        """
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        conditions = {name: value for name, value in (("uid", uid), ("resourceVersion", resource_version)) if value is not None}
        if conditions:
            options["preconditions"] = conditions
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        if dry_run:
            options["dryRun"] = ["All"]
        self._transport.send("DELETE", path, params=params, body=msgspec.json.encode(options), repeatable=True)

    def watch(
        self, path: str, item: type[T], *, resource_version: str, stop: Callable[[], bool], params: Params | None = None
    ) -> "Iterator[Change[T]]":
        """Every change after ``resource_version``, for as long as ``stop`` says False; no gaps over reconnects and relists.

        See :func:`gpuctl.kube.watch.changes` for the kinds of changes.
        """
        from gpuctl.kube.watch import changes

        return changes(self._transport, path, item, resource_version=resource_version, stop=stop, params=params)

    def stream(self, path: str, *, params: Params | None = None, read_s: float | None = None) -> "AbstractContextManager[Chunks]":
        """The bytes of an answer as they come (logs). Leaving the context closes the connection.

        ``read_s`` is the longest silence in seconds; None waits for ever, as a followed log needs.

        Raises:
            Unavailable: the connection was cut before the answer's end, or was silent for too long.
        """
        return self._transport.stream("GET", path, params=params, accept="*/*", read_s=read_s)

    def websocket(self, path: str, *, params: Params | None = None, subprotocols: Sequence[str] = ()) -> "WebSocket":
        """Open a WebSocket, as exec, attach and port-forward need (``gpuctl.kube.remotecommand``, ``gpuctl.kube.portforward``)."""
        from gpuctl.kube.websocket import connect

        return connect(self._transport, path, params=params, subprotocols=subprotocols)

    def discovery(self, *, fresh: bool = False) -> "Discovery":
        """The groups, versions and kinds the server offers; from this context's cache on disk unless it is old or ``fresh`` is asked."""
        from gpuctl.kube.discovery import discover

        return discover(self._transport, fresh=fresh)

    def can_i(self, verb: str, resource: Resource, *, namespace: str | None = None, name: str = "", sub: str = "") -> Access:
        """Whether we may do ``verb`` (RBAC's word) on ``resource``; in ``namespace``, or everywhere when it is None."""
        asked = {"verb": verb, "group": resource.group, "version": resource.version, "resource": resource.plural}
        asked |= {key: value for key, value in (("namespace", namespace), ("name", name), ("subresource", sub)) if value}
        body = {
            "apiVersion": ACCESS_REVIEWS.api_version,
            "kind": ACCESS_REVIEWS.kind,
            "spec": {"resourceAttributes": asked},
        }
        review = self._write("POST", ACCESS_REVIEWS.path(), body, _Review, params=None, dry_run=False, repeatable=True)
        return Access(allowed=review.status.allowed, reason=review.status.reason)

    def version(self) -> Version:
        """What runs there."""
        return self.get("/version", Version)

    def clock_skew(self) -> float:
        """Seconds the server's clock is ahead of ours (to about a second, as its answers tell whole seconds)."""
        return self._transport.clock_skew()

    def close(self) -> None:
        """Close every connection; the Api can be used again and opens new ones."""
        self._transport.close()

    def _write(
        self,
        method: str,
        path: str,
        body: Any,
        type_: type[T],
        *,
        params: Params | None,
        dry_run: bool,
        content: str = "application/json",
        repeatable: bool | None = None,
    ) -> T:
        extra: dict[str, str | int | bool | Sequence[str]] = {"fieldManager": FIELD_MANAGER, **(params or {})}
        if target(method, path).group == ACCESS_REVIEWS.group:
            del extra["fieldManager"]
        if dry_run:
            extra["dryRun"] = "All"
        if repeatable is None:
            repeatable = method == "PUT" or dry_run
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer = self._transport.send(method, path, params=extra, body=encoded, content=content, repeatable=repeatable)
        return self._transport.decode(answer, type_)


def open_api(
    context: str | None,
    *,
    env: Mapping[str, str],
    namespace: str | None = None,
    timeouts: Timeouts | None = None,
    trace: "Trace | None" = None,
    interactive: bool = False,
    kubeconfig: str | None = None,
) -> Api:
    """The Api of a kubeconfig context. Reads files, talks to nobody.

    Args:
        context: None is the current context; ``in-cluster``, or None in a pod without kubeconfig, is the pod's service account.
        env: KUBECONFIG, HOME, XDG_CACHE_HOME and the proxy variables are read from it.
        namespace: wins over the context's; without either it is ``default``.
        timeouts: time limits of every call.
        trace: called with one line per request, answer and retry; never given a secret.
        interactive: whether a credential plugin may ask the person (stdin is a terminal).
        kubeconfig: path of one file to read instead of KUBECONFIG.

    Raises:
        NotFoundError: no kubeconfig, or no such context in it; names the nearest.
        InvalidInput: the kubeconfig cannot be read.
        AuthError: the context's credentials are of a kind that cannot be used here.
    """
    from gpuctl.kube.opening import open_transport

    transport, access = open_transport(
        context, env=env, timeouts=timeouts or Timeouts(), trace=trace, interactive=interactive, kubeconfig=kubeconfig
    )
    return Api(context=access.context, namespace=namespace or access.namespace or "default", server=access.server, transport=transport)
