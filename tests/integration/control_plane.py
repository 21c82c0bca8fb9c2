"""Real Kubernetes control planes for tests: etcd, kube-apiserver, kube-scheduler, kube-controller-manager, without any node.

The binaries are looked for as envtest does: ``$KUBEBUILDER_ASSETS``, else ``/usr/local/kubebuilder/bin``. Where they are missing, what
needs them is skipped and says so. Each plane has ports, certificates and data of its own; several may run at once.

Users of a plane called ``alpha``, as contexts of its kubeconfig: ``alpha`` (everything, by token), ``alpha-cert`` (the same, by client
certificate) and ``alpha-alice`` (group ``scientists``, nothing until RBAC grants it).
"""

import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpuctl.kube.api import Api, open_api
from gpuctl.kube.objects.jobs import Job  # any object with conditions will do
from gpuctl.kube.objects.meta import is_true
from gpuctl.kube.resources import Resource
from tests.integration.certificates import Authority, signing_key

ASSETS = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/usr/local/kubebuilder/bin")
PROGRAMS = ("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager")
CRDS = os.environ.get("GPUCTL_TEST_CRDS")
"""A directory of CustomResourceDefinitions (``*.yaml``), read before tests get a clean environment."""
READY_S = 90.0
_DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)


def missing() -> str | None:
    """Why no control plane can run here, or None."""
    absent = [name for name in PROGRAMS if not os.access(ASSETS / name, os.X_OK)]
    return f"no {', '.join(absent)} in {ASSETS} (KUBEBUILDER_ASSETS names another place)" if absent else None


class ControlPlane:
    """One control plane. ``up`` starts it; ``stop_api`` and ``start_api`` play a cluster that is gone for a while."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory
        self.authority = Authority(f"{name} authority")
        self.port, self._etcd, self._peer = _free_ports(3)
        self.server = f"https://127.0.0.1:{self.port}"
        self.kubeconfig = directory / "kubeconfig"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._apis: list[Api] = []

    def up(self, *, controllers: bool = True) -> "ControlPlane":
        """Start everything and wait until the API is ready; without ``controllers`` nothing schedules or runs Jobs."""
        self._write_files()
        url, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peer}"
        self._start(
            "etcd",
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )
        self.start_api()
        if controllers:
            shared = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0")
            self._start("kube-scheduler", *shared)
            self._start(
                "kube-controller-manager",
                *shared,
                "--use-service-account-credentials=false",
                f"--service-account-private-key-file={self.directory / 'sa.key'}",
                "--controllers=*,-nodeipam,-cloud-node-lifecycle",
            )
        return self

    def start_api(self) -> None:
        """Start the API server and wait until it is ready."""
        files = self.directory
        self._start(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--tls-cert-file={files / 'server.crt'}",
            f"--tls-private-key-file={files / 'server.key'}",
            f"--client-ca-file={files / 'ca.crt'}",
            f"--token-auth-file={files / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={files / 'sa.pub'}",
            f"--service-account-signing-key-file={files / 'sa.key'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--allow-privileged=true",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            "--kubelet-preferred-address-types=InternalIP",
        )
        ends = time.monotonic() + READY_S
        while not self._ready():
            if self._processes["kube-apiserver"].poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"{self.name} did not become ready: {self._tail('kube-apiserver')}")
            time.sleep(0.1)

    def stop_api(self, *, hard: bool = False) -> None:
        """End the API server, ``hard`` without a chance to say so; its data stay."""
        if hard:
            self._processes["kube-apiserver"].kill()
        _end(self._processes.pop("kube-apiserver"))

    def down(self) -> None:
        """End everything."""
        for api in self._apis:
            api.close()
        for process in reversed(list(self._processes.values())):
            _end(process)
        self._processes.clear()

    def api(self, context: str | None = None, *, namespace: str | None = None) -> Api:
        """An Api of this plane, as its administrator unless another context is named; closed with the plane."""
        made = open_api(context or self.name, env=self.env(), namespace=namespace)
        self._apis.append(made)
        return made

    def env(self) -> dict[str, str]:
        """An environment that leads here and nowhere else."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME") if name in os.environ}
        return kept | {"KUBECONFIG": str(self.kubeconfig)}

    def kubectl(self, *arguments: str, ok: bool = True) -> str:
        """``kubectl ARGUMENTS`` here: its stdout. Skips the test where there is no kubectl."""
        if shutil.which("kubectl") is None:
            pytest.skip("no kubectl on PATH")
        done = subprocess.run(["kubectl", *arguments], env=self.env(), capture_output=True, text=True, timeout=120)
        assert not ok or done.returncode == 0, done.stderr
        return done.stdout

    def install_crds(self) -> None:
        """Apply the definitions that ``GPUCTL_TEST_CRDS`` names, and wait until they are served. Skips without it."""
        if not CRDS:
            pytest.skip("GPUCTL_TEST_CRDS names no directory of CustomResourceDefinitions")
        self.kubectl("apply", "--server-side", "-f", CRDS)
        # kubectl wait fails on a definition that has no conditions yet.
        ends = time.monotonic() + READY_S
        while not all(is_true(each.status.conditions, "Established") for each in self.api().list(_DEFINITIONS.path(), Job)):
            assert time.monotonic() < ends, "the definitions were not established"
            time.sleep(0.2)

    def namespace(self, name: str) -> str:
        """Create a namespace unless it is there."""
        self.kubectl("create", "namespace", name, ok=False)
        return name

    def _write_files(self) -> None:
        files = self.directory
        files.mkdir(parents=True, exist_ok=True)
        private, public = signing_key()
        serving = self.authority.server("127.0.0.1", "localhost", f"{self.name}.test")
        admin = self.authority.user("certified-admin", "system:masters")
        tokens = f"admin-{self.name},admin,admin,system:masters\nalice-{self.name},alice,alice,scientists\n"
        contents = {
            "ca.crt": self.authority.pem,
            "server.crt": serving.certificate,
            "server.key": serving.key,
            "sa.key": private,
            "sa.pub": public,
            "tokens.csv": tokens.encode(),
        }
        for name, content in contents.items():
            (files / name).write_bytes(content)
            (files / name).chmod(0o600)

        def context(user: str) -> dict[str, str]:
            return {"cluster": self.name, "user": user, "namespace": "default"}

        users = {
            f"{self.name}-admin": {"token": f"admin-{self.name}"},
            f"{self.name}-cert": {"client-certificate-data": _base64(admin.certificate), "client-key-data": _base64(admin.key)},
            f"{self.name}-alice": {"token": f"alice-{self.name}"},
        }
        names = {self.name: f"{self.name}-admin", f"{self.name}-cert": f"{self.name}-cert", f"{self.name}-alice": f"{self.name}-alice"}
        cluster = {"server": self.server, "certificate-authority-data": _base64(self.authority.pem)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.name,
            "clusters": [{"name": self.name, "cluster": cluster}],
            "users": [{"name": name, "user": user} for name, user in users.items()],
            "contexts": [{"name": name, "context": context(user)} for name, user in names.items()],
        }
        self.kubeconfig.write_text(json.dumps(document), "utf-8")
        self.kubeconfig.chmod(0o600)

    def _start(self, program: str, *arguments: str) -> None:
        with (self.directory / f"{program}.log").open("ab") as log:
            self._processes[program] = subprocess.Popen(
                [str(ASSETS / program), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _ready(self) -> bool:
        trusting = ssl.create_default_context(cadata=self.authority.pem.decode())
        trusting.verify_flags &= ~ssl.VERIFY_X509_STRICT
        asked = urllib.request.Request(f"{self.server}/readyz", headers={"Authorization": f"Bearer admin-{self.name}"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting))
        try:
            with opener.open(asked, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _tail(self, program: str) -> str:
        return (self.directory / f"{program}.log").read_text("utf-8", "replace")[-2000:]


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                continue


def _free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.fixture(scope="session")
def control_planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ControlPlane]]:
    """Gives the control plane of a name, started on its first use; all of them end with the session."""
    started: dict[str, ControlPlane] = {}

    def plane(name: str) -> ControlPlane:
        reason = missing()
        if reason:
            pytest.skip(reason)
        if name not in started:
            made = ControlPlane(name, tmp_path_factory.mktemp(name, numbered=True))
            started[name] = made  # first, so that a start that failed halfway ends too
            made.up()
        return started[name]

    yield plane
    for each in started.values():
        each.down()


@pytest.fixture(scope="session")
def alpha(control_planes: Callable[[str], ControlPlane]) -> ControlPlane:
    """A control plane with its controllers."""
    return control_planes("alpha")


@pytest.fixture(scope="session")
def beta(control_planes: Callable[[str], ControlPlane]) -> ControlPlane:
    """Another one."""
    return control_planes("beta")
