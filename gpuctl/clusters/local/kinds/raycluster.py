"""Kind ``ray``: a Ray of the job's own (head, then workers one by one, each seen alive before the next), and the job's program on the head.

Nothing of it meets another Ray of this machine: ports and session directory are its own, and so is its token. Ray listens on every
interface whatever address it is given, so the token is what keeps others out; it lies in a file that only this user may read, for an
environment is shown by many programs. Two workers that start together lose one to a clash of sockets, which ``ray start`` reports as
success; hence the order, and the probe. ``ray stop`` would stop every Ray of the user: processes are ended as those of any job.
"""

import os

from gpuctl.clusters.local.kinds.program import entrypoint, interpreter
from gpuctl.clusters.local.kinds.step import CannotStart, Start, Step, TaskContext, free_ports

LOOPBACK = "127.0.0.1"
LONGEST_DIRECTORY = 43
"""Bytes: a socket's path has at most 107, of which Ray's own part takes 64 (``/session_<date>_<pid>/sockets/plasma_store.<n>``)."""
START_TIMEOUT = 90.0
"""Seconds one node may take to be seen alive."""
_SMALLEST_STORE = 80 << 20
_LARGEST_STORE = 8 << 30
_TRIES = 3
_OWN_PORTS = (
    "node-manager-port",
    "object-manager-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)

_PROBE = """
import sys, time
address, wanted, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
import ray
deadline = time.monotonic() + seconds
last = None
while time.monotonic() < deadline:
    try:
        try:
            from ray._raylet import GcsClient
            alive = sum(1 for node in GcsClient(address=address).get_all_node_info(timeout=5).values() if node.state == 0)
        except (ImportError, AttributeError, TypeError):
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
            alive = sum(1 for node in ray.nodes() if node["Alive"])
            ray.shutdown()
        if alive >= wanted:
            sys.exit(0)
        last = f"{alive} of {wanted} nodes alive"
    except Exception as error:
        last = error
    time.sleep(0.1)
sys.exit(f"Ray did not come up: {last}")
"""


def steps(context: TaskContext) -> tuple[Step, ...]:
    """Head, probe, then worker and probe for each node, then the job's program."""
    return _steps(context, tries=_TRIES)


def _steps(context: TaskContext, *, tries: int) -> tuple[Step, ...]:
    spec = context.spec
    if len(os.fsencode(context.scratch)) > LONGEST_DIRECTORY:
        raise CannotStart(f"Ray cannot use the directory {context.scratch}: its path is too long for sockets", status=126)
    program = entrypoint(context)
    python = interpreter(context)
    gcs, client, dashboard = free_ports(3)
    address = f"{LOOPBACK}:{gcs}"
    token = _token(context)
    store = _store_bytes(spec.nodes + 1, spec.memory_bytes)
    taken = [gcs, client, dashboard]

    def environment(node: int, *, devices: bool = True) -> dict[str, str]:
        env = context.node_env(node, devices=devices)
        env.update(
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN_PATH=token,
            RAY_USAGE_STATS_ENABLED="0",
            RAY_USAGE_STATS_PROMPT_ENABLED="0",
            RAY_DISABLE_IMPORT_WARNING="1",
        )
        # A node that is told to end would wait for its work to move elsewhere; when ours is told, there is no elsewhere.
        env.setdefault("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "0")
        return env

    def again(said: bytes) -> tuple[Step, ...]:
        return _steps(context, tries=tries - 1) if tries > 1 and b"No module named" not in said else ()

    def node(label: str, index: int, env: dict[str, str], *arguments: str) -> Step:
        ports = free_ports(len(_OWN_PORTS), avoid=taken)
        taken.extend(ports)
        argv = (python, "-m", "ray.scripts.scripts", "start", "--block", *arguments, *_port_flags(ports))
        argv = (*argv, f"--node-ip-address={LOOPBACK}", f"--object-store-memory={store}", "--disable-usage-stats", "--log-color=false")
        start = Start(argv=argv, env=env, cwd=context.plan.workdir, node=index, label=label)
        return Step(name=label, starts=(start,), background=True, again=again)

    def alive(label: str, count: int) -> Step:
        argv = (python, "-c", _PROBE, address, str(count), str(START_TIMEOUT))
        start = Start(argv=argv, env=environment(0), cwd=context.plan.scratch, label=f"waiting for {label}")
        return Step(name=f"waiting for {label}", starts=(start,), timeout=START_TIMEOUT + 10, again=again)

    head = [
        "--head",
        f"--port={gcs}",
        f"--ray-client-server-port={client}",
        f"--temp-dir={context.scratch}",
        "--num-cpus=0",
        "--num-gpus=0",
    ]
    head += ["--include-dashboard=true", f"--dashboard-host={LOOPBACK}", f"--dashboard-port={dashboard}"]
    made = [node("Ray's head", 0, environment(0, devices=False), *head), alive("Ray's head", 1)]
    for index in range(spec.nodes):
        label = f"Ray's worker {index}"
        made += [node(label, index, environment(index), f"--address={address}", *_resources(context, index)), alive(label, index + 2)]
    env = environment(0, devices=False)
    env.update(RAY_ADDRESS=address, GPUCTL_RAY_DASHBOARD=f"{LOOPBACK}:{dashboard}")
    start = Start(argv=program, env=env, cwd=context.plan.workdir, rank=0, label="the program")
    return (*made, Step(name="run", starts=(start,)))


def _port_flags(ports: list[int]) -> tuple[str, ...]:
    flags = [f"--{name}={port}" for name, port in zip(_OWN_PORTS, ports, strict=True)]
    # 0: the kernel picks one for each worker process; Ray's default range is the same for every Ray of the machine.
    return (*flags, "--min-worker-port=0", "--max-worker-port=0")


def _resources(context: TaskContext, index: int) -> tuple[str, ...]:
    """What one worker offers: its GPUs with their share of cores, or as many CPUs as it has slots."""
    spec = context.spec
    leases = context.pods[index] if index < len(context.pods) else ()
    gpus = [lease for lease in leases if lease.kind != "slot"]
    if spec.cpu_millis is not None:
        cpus = max(1, spec.cpu_millis // 1000)
    elif gpus:
        cpus = max(len(gpus), (os.cpu_count() or 1) // spec.nodes)
    else:
        cpus = max(1, len(leases))
    memory = (f"--memory={spec.memory_bytes}",) if spec.memory_bytes is not None else ()
    return (f"--num-gpus={len(gpus)}", f"--num-cpus={cpus}", *memory)


def _token(context: TaskContext) -> str:
    """A fresh token in a file; its path."""
    path = os.path.join(context.scratch, "token")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(os.urandom(32).hex())
    return path


def _store_bytes(nodes: int, node_memory: int | None) -> int:
    """Bytes of object store per node: a share of 30 % of free memory and of half the shared memory's room."""
    available = _available_memory()
    try:
        room = os.statvfs("/dev/shm")
        shared = room.f_bavail * room.f_frsize // 2
    except OSError:
        shared = available
    share = min(available * 3 // 10, shared) // nodes
    if node_memory is not None:
        share = min(share, node_memory * 3 // 10)
    return max(_SMALLEST_STORE, min(share, _LARGEST_STORE))


def _available_memory() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    return 2 << 30
