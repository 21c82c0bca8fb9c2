"""Logs of 32 ranks in four pods, read through HTTP, marked by rank, merged and rendered, in MB/s of what the server sent.

    python tests/perf/kube_logs.py [MEGABYTES]

The server is a process of its own that sends MEGABYTES (default 128) of lines of about 100 bytes of text, ranks in random order, as an
API server would: once as if every rank had written 100 lines a second, once as if it had been 10,000 in a burst, of which more rests in
memory while its likes are looked for. The reader's processor time is told beside the wall clock's, since both share this machine.
"""

import multiprocessing
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection as Pipe

from gpuctl.clusters.kubernetes.streams.logs import PodLog, logs_of
from gpuctl.clusters.kubernetes.streams.target import PodTarget
from gpuctl.kube.api import Api, Timeouts
from gpuctl.kube.connection import Connection, Endpoint
from gpuctl.kube.credentials import Credential, Fixed
from gpuctl.kube.transport import Transport
from gpuctl.model.ask import LogQuery
from gpuctl.pool.logs.merge import rendered

PODS, RANKS = 4, 8


def main() -> None:
    """Print one line per measurement."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    for rate in (100, 10_000):
        measured(megabytes * 1_000_000 // PODS, rate)


def measured(size: int, rate: int) -> None:
    """Measure with so many bytes in each pod and so many lines a second of each rank."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("fork").Process(target=serve, args=(theirs, size, rate), daemon=True)
    server.start()
    port, size = ours.recv()
    print(f"{size * PODS / 1e6:.0f} MB in {PODS} pods of {RANKS} ranks, {rate:,} lines a second of each")
    print(f"{'what':40}{'MB/s':>8}{'MB per CPU s':>14}")
    everything = LogQuery()
    measures: dict[str, Callable[[list[PodLog]], int]] = {
        "one rank of each pod": lambda logs: drained(logs[1 :: RANKS + 1]),
        "merged": lambda logs: sum(map(len, rendered(logs, LogQuery(fold=False), threading.Event()))),
        "merged and rendered, folded": lambda logs: sum(map(len, rendered(logs, everything, threading.Event()))),
    }
    for what, measure in measures.items():
        began, used = time.perf_counter(), time.process_time()
        measure(logs(port))
        wall, cpu = time.perf_counter() - began, time.process_time() - used
        print(f"{what:40}{size * PODS / 1e6 / wall:8.0f}{size * PODS / 1e6 / cpu:14.0f}")
    server.kill()


def logs(port: int) -> list[PodLog]:
    """The logs of every rank and agent."""
    place = Endpoint(context="perf", namespace="default", server=f"http://127.0.0.1:{port}", compressed=False)
    transport = Transport(Connection(place, Fixed(Credential(authorization="Bearer x"))), timeouts=Timeouts())
    api = Api(context="perf", namespace="default", server=place.server, transport=transport)
    targets = [
        PodTarget(namespace="default", name=f"p{node}", container="main", node=node, prefixed=True, ranks=_ranks(node))
        for node in range(PODS)
    ]
    return list(logs_of(api, targets, LogQuery()))


def drained(logs: list[PodLog]) -> int:
    """Bytes of all blocks, in turn."""
    open_ = [log.blocks(since=None, follow=False) for log in logs]
    total = 0
    while open_:
        for blocks in list(open_):
            block = next(blocks, None)
            if block is None:
                open_.remove(blocks)
            else:
                total += len(block)
    return total


def serve(pipe: Pipe, size: int, rate: int) -> None:
    """Answer every request with the log of the pod that its path names."""
    bodies = [b"".join(_body(node, size, rate)) for node in range(PODS)]
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    pipe.send((listening.getsockname()[1], len(bodies[0])))
    while True:
        client, _ = listening.accept()
        threading.Thread(target=_answer, args=(client, bodies), daemon=True).start()


def _answer(client: socket.socket, bodies: list[bytes]) -> None:
    with client:
        head = client.recv(1 << 16)
        body = memoryview(bodies[int(head.split(b"/pods/p")[1].split(b"/")[0])])
        client.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for start in range(0, len(body), 32_768):
            block = body[start : start + 32_768]
            client.sendall(b"%x\r\n%b\r\n" % (len(block), block))
        client.sendall(b"0\r\n\r\n")


def _body(node: int, size: int, rate: int) -> Iterator[bytes]:
    chance = random.Random(node)
    written, instant = 0, 0
    while written < size:
        lines = []
        for _ in range(1000):
            instant += 1_000_000_000 // (RANKS * rate)
            rank = chance.randrange(node * RANKS, (node + 1) * RANKS)
            second, nanos = divmod(instant, 1_000_000_000)
            stamp = f"2026-03-01T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{nanos:09d}Z"
            lines.append(f"{stamp} [{rank}] step {instant} {'x' * chance.randrange(60, 110)}\n")
        block = "".join(lines).encode()
        written += len(block)
        yield block


def _ranks(node: int) -> tuple[int, ...]:
    return tuple(range(node * RANKS, (node + 1) * RANKS))


if __name__ == "__main__":
    main()
