"""What speaking to a cluster loads, and what it must not."""

import subprocess
import sys


def loaded(code: str, *names: str) -> set[str]:
    probe = f"import sys\n{code}\nprint(*(name for name in {names!r} if name in sys.modules))"
    return set(subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60).stdout.split())


def test_the_door_itself_is_light() -> None:
    heavy = ("httpx", "yaml", "ssl", "subprocess", "asyncio", "kubernetes", "gpuctl.kube.transport")
    assert loaded("import gpuctl.kube.api, gpuctl.kube.resources, gpuctl.kube.errors", *heavy) == set()


def test_httpx_comes_without_its_command_line() -> None:
    code = "from gpuctl.kube.connection import load_httpx\nload_httpx().Client().close()"
    assert loaded(code, "httpx", "click", "rich", "pygments", "asyncio") == {"httpx"}
