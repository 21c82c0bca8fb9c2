"""A Kubernetes API server in memory, spoken to over real HTTP: lists with pages and selectors, writes with resource versions and conflicts,
watches, dry runs, owner references. It knows no kinds; who plays controller and kubelet is for ``kube_world``.
"""

import base64
import copy
import json
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Document = dict[str, Any]
KINDS: dict[tuple[str, str], list[tuple[str, str, bool]]] = {
    ("", "v1"): [
        ("pods", "Pod", True),
        ("secrets", "Secret", True),
        ("services", "Service", True),
        ("events", "Event", True),
        ("persistentvolumeclaims", "PersistentVolumeClaim", True),
        ("resourcequotas", "ResourceQuota", True),
        ("nodes", "Node", False),
        ("namespaces", "Namespace", False),
    ],
    ("batch", "v1"): [("jobs", "Job", True)],
    ("coordination.k8s.io", "v1"): [("leases", "Lease", True)],
    ("storage.k8s.io", "v1"): [("storageclasses", "StorageClass", False)],
    ("authorization.k8s.io", "v1"): [("selfsubjectaccessreviews", "SelfSubjectAccessReview", False)],
}
SCHEDULES: dict[tuple[str, str], list[tuple[str, str, bool]]] = {("gpuctl.io", "v1alpha1"): [("poolschedules", "PoolSchedule", False)]}
ENGINES: dict[tuple[str, str], list[tuple[str, str, bool]]] = {
    ("jobset.x-k8s.io", "v1alpha2"): [("jobsets", "JobSet", True)],
    ("trainer.kubeflow.org", "v1alpha1"): [
        ("trainjobs", "TrainJob", True),
        ("trainingruntimes", "TrainingRuntime", True),
        ("clustertrainingruntimes", "ClusterTrainingRuntime", False),
    ],
    ("kubeflow.org", "v1"): [("pytorchjobs", "PyTorchJob", True)],
    ("ray.io", "v1"): [("rayjobs", "RayJob", True), ("rayclusters", "RayCluster", True)],
    ("kueue.x-k8s.io", "v1beta2"): [
        ("localqueues", "LocalQueue", True),
        ("clusterqueues", "ClusterQueue", False),
        ("workloads", "Workload", True),
        ("resourceflavors", "ResourceFlavor", False),
    ],
}


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass
class Target:
    """A request's path in parts."""

    collection: str
    namespace: str | None
    name: str | None
    sub: str | None
    resource: str


@dataclass
class FakeApi:
    """The server's state. ``trouble`` may raise a :class:`Refusal` for a request (method, path); ``requests`` are all that came."""

    groups: dict[tuple[str, str], list[tuple[str, str, bool]]] = field(default_factory=lambda: dict(KINDS))
    trouble: Callable[[str, str], None] | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[tuple[str, str, Document]] = field(default_factory=list)
    logs: Callable[[str, Document], bytes] | None = None
    deleting: Callable[[Document, int | None], bool] | None = None
    """Called for a pod that is to go; False: it goes later, by :meth:`remove`."""
    protected: set[str] = field(default_factory=set)
    """Names of pods that a disruption budget keeps from being evicted."""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.objects: dict[str, dict[tuple[str | None, str], Document]] = {}
        self.version = 100
        self.history: list[tuple[int, str, str, Document]] = []
        self.put("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "kube-system"}})
        self.put("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "ml"}})

    # -- state --------------------------------------------------------------------------------------------------------------------

    def put(self, collection: str, document: Document, *, namespace: str | None = None) -> Document:
        """Create or replace, past all checks."""
        with self.changed:
            made = copy.deepcopy(document)
            meta = made.setdefault("metadata", {})
            if namespace is not None:
                meta["namespace"] = namespace
            key = (meta.get("namespace"), meta["name"])
            old = self.objects.setdefault(collection, {}).get(key)
            meta.setdefault("uid", str(uuid.uuid4()))
            meta.setdefault("creationTimestamp", now())
            self.version += 1
            meta["resourceVersion"] = str(self.version)
            self.objects[collection][key] = made
            self.history.append((self.version, "MODIFIED" if old else "ADDED", collection, made))
            self.changed.notify_all()
            return copy.deepcopy(made)

    def all(self, collection: str) -> list[Document]:
        """Copies of everything in a collection."""
        with self.lock:
            return copy.deepcopy(list(self.objects.get(collection, {}).values()))

    def remove(self, collection: str, key: tuple[str | None, str]) -> None:
        """Take an object out, and what belongs to nobody else."""
        with self.changed:
            gone = self.objects.get(collection, {}).pop(key, None)
            if gone is None:
                return
            self.version += 1
            self.history.append((self.version, "DELETED", collection, gone))
            self.changed.notify_all()
            self._collect(gone["metadata"]["uid"])

    def _collect(self, owner: str) -> None:
        for collection, found in list(self.objects.items()):
            for _, each in list(found.items()):
                owners = each["metadata"].get("ownerReferences", [])
                if not any(one["uid"] == owner for one in owners):
                    continue
                each["metadata"]["ownerReferences"] = [one for one in owners if one["uid"] != owner]
                if not each["metadata"]["ownerReferences"]:
                    self.delete(collection, each, propagation="Background", grace=None)

    def delete(self, collection: str, found: Document, *, propagation: str, grace: int | None) -> None:
        """Delete as the API does: pods take their time, and in the foreground owners wait for what they own."""
        meta = found["metadata"]
        key = (meta.get("namespace"), meta["name"])
        if collection.endswith("/pods") and self.deleting is not None:
            first = "deletionTimestamp" not in meta
            meta["deletionTimestamp"] = now()
            if first or grace is not None:
                if self.deleting(found, grace):
                    self.remove(collection, key)
                else:
                    self.put(collection, found)
            return
        owned = self._owned(meta["uid"])
        if propagation == "Foreground" and owned:
            meta["deletionTimestamp"] = now()
            meta["finalizers"] = ["foregroundDeletion"]
            self.put(collection, found)
            for inner, each in owned:
                self.delete(inner, each, propagation="Foreground", grace=None)
            self.finish_foreground()
            return
        self.remove(collection, key)

    def finish_foreground(self) -> None:
        """Let go of owners whose dependents are gone."""
        with self.lock:
            for collection, found in list(self.objects.items()):
                for key, each in list(found.items()):
                    waits = "foregroundDeletion" in each["metadata"].get("finalizers", [])
                    blocking = [one for one in self._owned(each["metadata"]["uid"]) if one[0].endswith("/pods")]
                    if waits and not blocking:
                        self.remove(collection, key)

    def _owned(self, uid: str) -> list[tuple[str, Document]]:
        return [
            (collection, each)
            for collection, found in self.objects.items()
            for each in found.values()
            if any(one["uid"] == uid for one in each["metadata"].get("ownerReferences", []))
        ]

    # -- requests -----------------------------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, body: bytes, content: str) -> tuple[int, Any]:
        """One request but a watch: status, and a document or bytes."""
        url = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.requests.append((method, target))
        try:
            if self.trouble is not None:
                self.trouble(method, target)
            document = json.loads(body) if body else {}
            if method != "GET":
                self.bodies.append((method, url.path, copy.deepcopy(document)))
            if url.path == "/version":
                return 200, {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
            if url.path in ("/api", "/apis"):
                return 200, self._discovery(core=url.path == "/api")
            with self.lock:
                return self._serve(method, self._parts(url.path), query, document, content)
        except Refusal as refusal:
            return refusal.status, {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "message": refusal.message,
                "reason": refusal.reason,
                "code": refusal.status,
            }

    def _discovery(self, *, core: bool) -> Document:
        items: dict[str, Document] = {}
        for (group, version), kinds in self.groups.items():
            if (group == "") != core:
                continue
            entry = items.setdefault(group, {"metadata": {"name": group}, "versions": []})
            resources = [
                {
                    "resource": plural,
                    "responseKind": {"group": group, "version": version, "kind": kind},
                    "scope": "Namespaced" if namespaced else "Cluster",
                    "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
                }
                for plural, kind, namespaced in kinds
            ]
            entry["versions"].append({"version": version, "resources": resources, "freshness": "Current"})
        return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": list(items.values())}

    def _parts(self, path: str) -> Target:
        parts = path.strip("/").split("/")
        head = 2 if parts[0] == "api" else 3
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
        rest = parts[head:]
        namespace = None
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kinds = self.groups.get((group, version), [])
        if not any(plural == rest[0] for plural, _, _ in kinds):
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        collection = "/" + "/".join([*parts[:head], rest[0]])
        name = rest[1] if len(rest) > 1 else None
        return Target(collection, namespace, name, "/".join(rest[2:]) or None, rest[0])

    def _serve(self, method: str, path: Target, query: dict[str, str], body: Document, content: str) -> tuple[int, Any]:
        if path.resource == "selfsubjectaccessreviews":
            return 201, {**body, "status": {"allowed": True}}
        if method == "POST" and path.sub == "eviction":
            return 201, self._evict(path, body)
        if method == "POST":
            return 201, self._create(path, body, dry="dryRun" in query)
        if path.name is None:
            if method == "GET":
                return 200, self._list(path, query)
            for each in self._select(path, query):
                self.delete(path.collection, each, propagation="Background", grace=body.get("gracePeriodSeconds"))
            return 200, {"kind": "Status", "status": "Success"}
        found = self.objects.get(path.collection, {}).get((path.namespace, path.name))
        if found is None:
            raise Refusal(404, "NotFound", f'{path.resource} "{path.name}" not found')
        if method == "GET" and path.sub == "log":
            return 200, self.logs(query.get("container", ""), found) if self.logs is not None else b""
        if method == "GET":
            return 200, copy.deepcopy(found)
        if method == "DELETE":
            self._precondition(path, found, body.get("preconditions", {}))
            if "dryRun" not in body:
                propagation = body.get("propagationPolicy", "Background")
                self.delete(path.collection, found, propagation=propagation, grace=body.get("gracePeriodSeconds"))
            return 200, {"kind": "Status", "status": "Success"}
        given = body.get("metadata", {})
        self._precondition(path, found, {key: given[key] for key in ("resourceVersion", "uid") if key in given})
        changed = copy.deepcopy(body) if method == "PUT" else merged(found, body, strategic="strategic" in content)
        changed["metadata"] = {**found["metadata"], **changed.get("metadata", {})}
        return 200, copy.deepcopy(changed) if "dryRun" in query else self.put(path.collection, changed)

    def _evict(self, path: Target, body: Document) -> Document:
        found = self.objects.get(path.collection, {}).get((path.namespace, path.name or ""))
        if found is None:
            raise Refusal(404, "NotFound", f'pods "{path.name}" not found')
        options = body.get("deleteOptions", {})
        self._precondition(path, found, options.get("preconditions", {}))
        if path.name in self.protected:
            raise Refusal(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
        self.delete(path.collection, found, propagation="Background", grace=options.get("gracePeriodSeconds"))
        return {"kind": "Status", "status": "Success"}

    def _precondition(self, path: Target, found: Document, wanted: Document) -> None:
        for key, value in wanted.items():
            if found["metadata"].get(key) != value:
                message = f'Operation cannot be fulfilled on {path.resource} "{path.name}": the {key} does not match'
                raise Refusal(409, "Conflict", message)

    def _create(self, path: Target, body: Document, *, dry: bool) -> Document:
        name = body["metadata"]["name"]
        if (path.namespace, name) in self.objects.get(path.collection, {}):
            raise Refusal(409, "AlreadyExists", f'{path.resource} "{name}" already exists')
        if path.namespace is not None and (None, path.namespace) not in self.objects["/api/v1/namespaces"]:
            raise Refusal(404, "NotFound", f'namespaces "{path.namespace}" not found')
        kept = copy.deepcopy(body)
        kept["metadata"] = {**kept["metadata"], "creationTimestamp": now()}
        if "stringData" in kept:
            plain = {key: base64.b64encode(value.encode()).decode() for key, value in kept.pop("stringData").items()}
            kept["data"] = {**kept.get("data", {}), **plain}
        return kept if dry else self.put(path.collection, kept, namespace=path.namespace)

    def _select(self, path: Target, query: dict[str, str]) -> list[Document]:
        found = [each for key, each in self.objects.get(path.collection, {}).items() if path.namespace in (None, key[0])]
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        return [each for each in found if matches(each["metadata"].get("labels", {}), labels) and fits(each, fields)]

    def _list(self, path: Target, query: dict[str, str]) -> Document:
        found = sorted(self._select(path, query), key=lambda each: each["metadata"]["name"])
        limit, start = int(query.get("limit", "0")), int(query.get("continue", "0") or 0)
        page = found[start : start + limit] if limit else found
        meta: Document = {"resourceVersion": str(self.version)}
        if limit and start + limit < len(found):
            meta |= {"continue": str(start + limit), "remainingItemCount": len(found) - start - limit}
        return {"kind": "List", "metadata": meta, "items": copy.deepcopy(page)}

    def changes(self, target: str, since: int) -> tuple[int, list[Document]]:
        """What a watch of this target has missed since a version."""
        url = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        with self.lock:
            path = self._parts(url.path)
            told = [
                {"type": kind, "object": copy.deepcopy(each)}
                for version, kind, collection, each in self.history
                if version > since
                and collection == path.collection
                and path.namespace in (None, each["metadata"].get("namespace"))
                and matches(each["metadata"].get("labels", {}), query.get("labelSelector", ""))
            ]
            return self.version, told


def now() -> str:
    """The present second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def matches(labels: dict[str, str], selector: str) -> bool:
    """Whether labels answer to ``a=b,c in (d,e),f``."""
    rest = selector
    while rest:
        if " in (" in rest.split("=")[0] and (" in (" in rest.split(",")[0]):
            key, _, tail = rest.partition(" in (")
            values, _, rest = tail.partition(")")
            if labels.get(key.strip()) not in values.split(","):
                return False
            rest = rest.lstrip(",")
            continue
        part, _, rest = rest.partition(",")
        key, equals, value = part.partition("=")
        if labels.get(key) is None or (equals and labels[key] != value):
            return False
    return True


def fits(each: Document, selector: str) -> bool:
    """Whether an object answers to a field selector."""
    for part in filter(None, selector.split(",")):
        path, wanted, negative = (
            (*part.split("!=", 1), True) if "!=" in part else (*part.split("=", 1), False)  # type: ignore[misc]
        )
        value: Any = each
        for key in path.split("."):
            value = value.get(key, "") if isinstance(value, dict) else ""
        if (str(value) == wanted) == negative:
            return False
    return True


def merged(found: Document, change: Document, *, strategic: bool) -> Document:
    """A merge patch; a strategic one adds owners instead of replacing them."""
    result = copy.deepcopy(found)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, dict) else {}, value, strategic=strategic)
        elif strategic and key == "ownerReferences":
            known = [each for each in result.get(key, []) if each["uid"] not in {one["uid"] for one in value}]
            result[key] = [*known, *copy.deepcopy(value)]
        else:
            result[key] = copy.deepcopy(value)
    return result


class Server:
    """The HTTP side, on a free port of this machine. ``kubeconfig`` leads there."""

    def __init__(self, api: FakeApi, directory: Path, *, context: str = "fake", namespace: str = "ml") -> None:
        self.api = api
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                if self.command == "GET" and "watch=" in self.path:
                    self._watch()
                    return
                status, answer = outer.api.answer(self.command, self.path, body, self.headers.get("Content-Type", ""))
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "text/plain" if isinstance(answer, bytes) else "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _watch(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                since = int(query.get("resourceVersion", ["0"])[0] or 0)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                while not outer.closed.is_set():
                    since, told = outer.api.changes(self.path, since)
                    try:
                        for each in told:
                            self.wfile.write(json.dumps(each).encode() + b"\n")
                        self.wfile.flush()
                    except OSError:
                        return
                    with outer.api.changed:
                        outer.api.changed.wait(0.2)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

            def log_message(self, *_: object) -> None:
                return

        self.closed = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.kubeconfig = directory / "kubeconfig"
        token = base64.b16encode(uuid.uuid4().bytes).decode()
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": context, "cluster": {"server": self.url}}],
                    "users": [{"name": context, "user": {"token": token}}],
                    "contexts": [{"name": context, "context": {"cluster": context, "user": context, "namespace": namespace}}],
                    "current-context": context,
                }
            )
        )

    def close(self) -> None:
        """Stop serving."""
        self.closed.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
