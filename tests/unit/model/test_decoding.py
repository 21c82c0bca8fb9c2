"""Types that several threads meet for the first time at one moment."""

import subprocess
import sys

MEET = """
import sys, threading, types
import msgspec
from gpuctl.model import decoding

sys.setswitchinterval(1e-6)
LEAF = "".join(f"    f{number}: dict[str, list[int]] | None = None\\n" for number in range(30))
SOURCE = (
    "import msgspec\\n"
    f"class Leaf(msgspec.Struct, frozen=True, kw_only=True):\\n{LEAF}"
    "class One(msgspec.Struct):\\n    leaf: Leaf\\n"
    "class Two(msgspec.Struct):\\n    leaf: Leaf\\n"
)
for number in range(300):
    module = sys.modules[f"met{number}"] = types.ModuleType(f"met{number}")
    exec(SOURCE, module.__dict__)
    barrier = threading.Barrier(4)
    seen = []

    def meet(kind, how):
        barrier.wait()
        seen.append(how(kind).leaf.f29)

    text, value = b'{"leaf": {"f1": {"a": [1]}, "f29": {"b": [2]}}}', {"leaf": {"f29": {"b": [2]}}}
    hows = (lambda kind: decoding.decode(text, kind), lambda kind: decoding.convert(value, kind))
    threads = [threading.Thread(target=meet, args=(kind, how)) for kind in (module.One, module.Two) for how in hows]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert seen == [{"b": [2]}] * 4, seen
"""


def test_threads_that_meet_a_type_at_one_moment() -> None:
    # In a process of its own: what goes wrong here is a segmentation fault.
    done = subprocess.run([sys.executable, "-c", MEET], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
