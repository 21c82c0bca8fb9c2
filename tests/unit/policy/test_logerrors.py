"""Errors in logs: lines as CPython, torch, gloo, NCCL, Ray and shells really write them."""

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.policy.logerrors import LONGEST_LAST_LINE, find, last_line, scan

LAUNCHER = """\
E1123 18:28:13.012000 16888 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1) local_rank: 1 (pid: 16929)
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/opt/venv/lib/python3.11/site-packages/torch/distributed/run.py", line 1032, in <module>
    main()
  File "/opt/venv/lib/python3.11/site-packages/torch/distributed/launcher/api.py", line 383, in launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError: 
============================================================
ve.py FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-23_18:28:13
  rank      : 0 (local_rank: 0)
  exitcode  : -15 (pid: 16928)  (SIGTERM)
  traceback : Signal 15 (SIGTERM) received by PID 16928
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
============================================================
"""  # noqa: W291

TORCHRUN = (
    """\
epoch 1 loss 0.3
[rank1]: Traceback (most recent call last):
[rank1]:   File "/home/ben/ve.py", line 9, in <module>
[rank1]:     main()
[rank0]: Traceback (most recent call last):
[rank1]:   File "/home/ben/ve.py", line 5, in step
[rank1]:     if r==1: raise ValueError("bad learning rate: -1")
[rank1]:              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
[rank1]: ValueError: bad learning rate: -1
[rank0]:   File "/home/ben/ve.py", line 6, in step
[rank0]:     dist.barrier()
[rank0]:   File "/opt/venv/lib/python3.11/site-packages/torch/distributed/distributed_c10d.py", line 5356, in barrier
[rank0]:     work.wait()
[rank0]: RuntimeError: [/__w/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:29334. This is typically caused by
W1123 18:28:12.973000 16888 torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 16928 closing signal SIGTERM
"""
    + LAUNCHER
)


def text(block: str) -> bytes:
    return textwrap.dedent(block).encode()


def trace(last: str, *, file: str = "/home/ben/train.py") -> bytes:
    return f'Traceback (most recent call last):\n  File "{file}", line 7, in step\n    x()\n{last}\n'.encode()


def test_each_rank_tells_its_own_error_and_the_launcher_none() -> None:
    own, lost = scan(TORCHRUN.encode())
    assert (own.code, own.rank, own.text) == ("python-traceback", 1, "ValueError: bad learning rate: -1")
    assert own.data == {"exception": "ValueError", "file": "/home/ben/ve.py", "line": "5", "function": "step"}
    assert (lost.code, lost.rank) == ("connection-lost", 0)
    # The frame outside the installed packages.
    assert lost.data["line"] == "6"


def test_findings_name_the_lines_to_show() -> None:
    own = find(TORCHRUN.encode())[0]
    lines = TORCHRUN.splitlines()
    assert lines[own.first] == "[rank1]: Traceback (most recent call last):"
    assert lines[own.last - 1] == "[rank1]: ValueError: bad learning rate: -1"


def test_the_launcher_alone_says_nothing() -> None:
    assert scan(LAUNCHER.encode()) == ()


def test_the_launcher_that_is_told_to_end_says_nothing() -> None:
    ended = "torch.distributed.elastic.multiprocessing.api.SignalException: Process 4711 got signal: 15"
    assert scan(trace(ended)) == ()


def test_the_last_exception_of_a_chain_counts_and_its_first_line() -> None:
    block = text("""\
        Traceback (most recent call last):
          File "/home/ben/chain.py", line 4, in load
            {}["lr"]
            ~~^^^^^^
        KeyError: 'lr'

        The above exception was the direct cause of the following exception:

        Traceback (most recent call last):
          File "/home/ben/chain.py", line 6, in load
            raise RuntimeError("config has no lr\\nsecond line") from e
        RuntimeError: config has no lr
        second line

        """)
    (found,) = find(block, rank=4)
    assert (found.evidence.text, found.evidence.rank) == ("RuntimeError: config has no lr", 4)
    assert (found.first, found.last) == (8, 13)


def test_an_error_that_was_survived_is_not_the_end() -> None:
    (found,) = scan(trace("OSError: disk") + b"retrying\n" * 50 + trace("ValueError: end"))
    assert found.text == "ValueError: end"


def test_exceptions_in_destructors_are_passed_over() -> None:
    block = trace("ValueError: own") + b"Exception ignored in: <function X.__del__ at 0x7f>\n" + trace("AttributeError: late")
    assert [one.text for one in scan(block)] == ["ValueError: own"]


def test_losing_peers_after_ones_own_error_changes_nothing() -> None:
    block = trace("ValueError: own") + trace("RuntimeError: Connection reset by peer")
    assert [one.text for one in scan(block)] == ["ValueError: own"]


def test_a_traceback_that_is_cut_off_is_none() -> None:
    assert scan(b'Traceback (most recent call last):\n  File "/a.py", line 1, in <module>\n') == ()
    assert scan(b'  File "/a.py", line 1, in <module>\nValueError: x\n') == ()


def test_a_syntax_error_has_no_traceback_of_its_own() -> None:
    (found,) = find(b'hello\n  File "/home/ben/train.py", line 3\n    def f(:\n          ^\nSyntaxError: invalid syntax\n')
    assert found.evidence.data == {"exception": "SyntaxError", "file": "/home/ben/train.py", "line": "3"}
    assert (found.first, found.last) == (1, 5)


def test_exception_groups_and_ray_tasks() -> None:
    group = text("""\
          + Exception Group Traceback (most recent call last):
          |   File "/home/ben/g.py", line 2, in <module>
          |     raise ExceptionGroup("many", [ValueError("one")])
          | ExceptionGroup: many (1 sub-exception)
          +-+---------------- 1 ----------------
            | Traceback (most recent call last):
            |   File "/home/ben/g.py", line 9, in inner
            |     raise ValueError("one")
            | ValueError: one
            +------------------------------------
        """)
    (found,) = scan(group)
    assert (found.text, found.data["line"]) == ("ValueError: one", "9")
    ray = text("""\
        Traceback (most recent call last):
          File "/home/ben/tune.py", line 5, in <module>
            ray.get(f.remote())
        ray.exceptions.RayTaskError(ValueError): ray::f() (pid=12, ip=10.0.0.1)
          File "/home/ben/tune.py", line 3, in f
            raise ValueError("no")
        ValueError: no
        """)
    (found,) = scan(ray)
    assert (found.text, found.data["line"], found.data["function"]) == ("ValueError: no", "3", "f")


OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 1 has a total capacity of 79.15 GiB of which "
    "1.20 GiB is free. Process 4242 has 10.00 GiB memory in use. Including non-PyTorch memory, this process has 67.95 GiB memory in use."
)
OLD_OOM = (
    "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 15.90 GiB total capacity; 14.75 GiB already allocated; "
    "59.75 MiB free; 14.90 GiB reserved in total by PyTorch)"
)
NCCL = (
    "torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:317, unhandled system error "
    "(run with NCCL_DEBUG=INFO for details), NCCL version 2.21.5\nncclSystemError: System call (e.g. socket, malloc) or external library "
    "call failed or device error.\nLast error:\nError while creating shared memory segment"
)
CONNECT = "torch.distributed.DistNetworkError: The client socket has timed out after 60000ms while trying to connect to (node-0, 29500)."


@pytest.mark.parametrize(
    ("last", "code", "data"),
    [
        (OOM, "cuda-oom", {"tried": "2.00 GiB", "total": "79.15 GiB", "free": "1.20 GiB", "others": "10.00 GiB", "device": "1"}),
        (OLD_OOM, "cuda-oom", {"tried": "20.00 MiB", "total": "15.90 GiB", "free": "59.75 MiB", "device": "0"}),
        ("RuntimeError: CUDA error: out of memory", "cuda-oom", {}),
        (NCCL, "nccl-error", {"error": "unhandled system error (ncclSystemError)"}),
        (CONNECT, "rendezvous-timeout", {"seconds": "60"}),
        (
            "torch.distributed.DistStoreError: Timed out after 3 seconds waiting for clients. 1/2 clients joined.",
            "rendezvous-timeout",
            {"joined": "1", "expected": "2", "seconds": "3"},
        ),
        ("torch.distributed.elastic.rendezvous.api.RendezvousTimeoutError", "rendezvous-timeout", {}),
        ("ModuleNotFoundError: No module named 'yaml.x'", "module-missing", {"module": "yaml.x", "package": "pyyaml"}),
        (
            "RuntimeError: DataLoader worker (pid 812) is killed by signal: Killed. ",
            "killed",
            {"process": "a data-loader worker", "signal": "Killed"},
        ),
        ("KeyboardInterrupt", "python-traceback", {"exception": "KeyboardInterrupt"}),
        ("my.pkg.Odd: ncclish", "python-traceback", {"exception": "my.pkg.Odd"}),
    ],
)
def test_kinds(last: str, code: str, data: dict[str, str]) -> None:
    (found,) = scan(trace(last))
    assert found.code == code
    assert found.data == {**data, "file": "/home/ben/train.py", "line": "7", "function": "step"}


def test_the_watchdog_speaks_first() -> None:
    line = (
        "[rank0]:[E1123 18:28:13.1 ProcessGroupNCCL.cpp:616] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=5, "
        "OpType=ALLREDUCE, NumelIn=1, NumelOut=1, Timeout(ms)=600000) ran for 600033 milliseconds before timing out.\n"
    )
    (found,) = scan(line.encode() * 3, rank=0)
    assert found.data == {"error": "collective operation timeout", "operation": "ALLREDUCE", "seconds": "600"}
    assert (found.code, found.rank) == ("nccl-error", 0)


@pytest.mark.parametrize(
    ("line", "process"),
    [("Killed", None), ("/x/job.sh: line 3: 4242 Killed                  python train.py", "python train.py"), ("He was Killed", False)],
)
def test_a_shell_tells_of_a_killed_child(line: str, process: str | bool | None) -> None:
    found = scan(line.encode())
    if process is False:
        assert found == ()
    else:
        assert [(one.code, one.data.get("process")) for one in found] == [("killed", process)]


def test_colours_and_carriage_returns_do_not_hide_an_error() -> None:
    block = trace("ValueError: x").replace(b"Traceback", b"\x1b[31mTraceback").replace(b"\n", b"\r\n")
    assert [one.text for one in scan(block)] == ["ValueError: x"]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 60), st.integers(0, 400))
def test_no_bytes_break_it(noise: bytes, start: int, end: int) -> None:
    block = TORCHRUN.encode()
    for finding in find(noise + b"\n" + block[start:end] + noise):
        assert finding.first < finding.last
    assert scan(noise + b"\n" + block)[-2:] == scan(block) or b"Trace" in noise or b"[" in noise


@pytest.mark.parametrize(
    ("block", "line"),
    [
        (b"", None),
        (b"step 1\nno data in /data\n", "no data in /data"),
        (b"no data\n\n  \n----\n", "no data"),
        (b"[rank1]: no data\n", "no data"),
        (b"10%\r20%\r\x1b[31mdisk full\x1b[0m\r\n", "disk full"),
        (b"a\x07b\x1b]0;title\xff\n", "ab]0;title\N{REPLACEMENT CHARACTER}"),
        (b"x" * LONGEST_LAST_LINE, "x" * LONGEST_LAST_LINE),
        (b"short\n" + b"x" * (LONGEST_LAST_LINE + 1), None),
    ],
)
def test_the_last_line_that_says_anything(block: bytes, line: str | None) -> None:
    assert last_line(block) == line
