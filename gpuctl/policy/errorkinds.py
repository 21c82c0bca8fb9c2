"""What a program's last words mean: an exception line, or a line of NCCL's watchdog or of a shell, as Evidence.

Messages are those of PyTorch 2.x (``c10/cuda/CUDACachingAllocator.cpp``, ``ProcessGroupNCCL.cpp``, ``TCPStore.cpp``,
``torch/distributed/elastic``) and gloo's ``transport/tcp``; older spellings that are still met are read as well.
"""

import re

from gpuctl.model.reason import Evidence

_SIZE = r"(\d+(?:\.\d+)? [KMGT]?i?B)"
_OOM = re.compile(r"(CUDA|HIP) out of memory|CUDA error: out of memory|\bOutOfMemoryError\b")
_OOM_FACTS = {
    "tried": re.compile(rf"[Tt]ried to allocate {_SIZE}"),
    "total": re.compile(rf"total capac[a-z]* of {_SIZE}|GPU \d+; {_SIZE} total capacity"),
    "free": re.compile(rf"of which {_SIZE} is free|{_SIZE} free;"),
    "others": re.compile(rf"Process \d+ has {_SIZE} memory in use"),
    "device": re.compile(r"GPU (\d+)(?: has|;)"),
}
_NCCL = re.compile(r"\bNCCL error\b|\bnccl[A-Z]\w+Error\b|\bncclInvalid\w+\b|ProcessGroupNCCL")
_NCCL_CAUSE = re.compile(r"NCCL error in: \S+, (.+?)(?:, NCCL version [\d.]+|$)")
_NCCL_NAME = re.compile(r"\b(nccl[A-Z]\w+)\b")
_WATCHDOG = re.compile(r"[Ww]atchdog caught collective operation timeout: WorkNCCL\((?P<work>.*?)\) ran for (?P<ms>\d+) milliseconds")
_OPERATION = re.compile(r"OpType=(\w+)")
_RENDEZVOUS = re.compile(
    r"Rendezvous(?:Timeout|Connection|Closed)Error|Timed out after (?P<after>\d+) seconds waiting for clients"
    r"|client socket has (?:timed out|failed).*trying to connect to|wait timeout after (?P<wait>\d+)ms"
)
_JOINED = re.compile(r"(\d+)/(\d+) clients joined")
_CONNECT = re.compile(r"timed out after (\d+)(ms|s)\b")
_CONNECTION = re.compile(
    r"Connection closed by peer|Connection reset by peer|Broken pipe|Timed out waiting \d+ms for (?:recv|send) operation"
)
_MODULE = re.compile(r"No module named '([^']+)'")
_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: (?P<name>[\w ]+)|exited unexpectedly)")
_SHELL_KILLED = re.compile(r"(?:^|\s)(?P<pid>\d+)?\s*Killed(?:\s+(?P<what>\S.*))?$")
_SHELL_LINE = re.compile(r"^(?:\S+: line \d+: +\d+ )?Killed(?: .*)?$")


_PACKAGES = {
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "flash_attn": "flash-attn",
    "google.protobuf": "protobuf",
    "hydra": "hydra-core",
    "lightning_fabric": "lightning-fabric",
    "pl_bolts": "lightning-bolts",
    "pynvml": "nvidia-ml-py",
    "pytorch_lightning": "pytorch-lightning",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}
"""What to install for modules that are not called like their package."""


def _package(module: str) -> str:
    top = module.partition(".")[0]
    return _PACKAGES.get(module) or _PACKAGES.get(top) or top


def of_exception(line: str, message: str) -> tuple[str, dict[str, str]]:
    """The evidence code of an exception, and what its message says. ``line`` is ``Type: first line``, ``message`` all of its lines."""
    kind = line.split(":", 1)[0].strip()
    if _OOM.search(message):
        return "cuda-oom", _facts(message)
    worker = _WORKER.search(message)
    if worker:
        return "killed", {"process": "a data-loader worker", "signal": worker["name"] or ""}
    module = _MODULE.search(line)
    if kind.endswith("ModuleNotFoundError") and module:
        return "module-missing", {"module": module[1], "package": _package(module[1])}
    rendezvous = _RENDEZVOUS.search(message)
    if rendezvous:
        return "rendezvous-timeout", _rendezvous(message, rendezvous)
    if _NCCL.search(message):
        return "nccl-error", _nccl(message)
    if _CONNECTION.search(message):
        return "connection-lost", {}
    return "python-traceback", {"exception": kind}


def of_line(line: str) -> Evidence | None:
    """Evidence in a line that belongs to no traceback, or None."""
    watchdog = _WATCHDOG.search(line)
    if watchdog:
        operation = _OPERATION.search(watchdog["work"])
        data = {"error": "collective operation timeout", "seconds": str(int(watchdog["ms"]) // 1000)}
        if operation:
            data["operation"] = operation[1]
        return Evidence(code="nccl-error", text=line, data=data, source="log")
    if _SHELL_LINE.match(line):
        shell = _SHELL_KILLED.search(line)
        process = (shell["what"] or "").strip() if shell else ""
        return Evidence(code="killed", text=line, data={"process": process} if process else {}, source="log")
    return None


def _facts(message: str) -> dict[str, str]:
    found = {key: pattern.search(message) for key, pattern in _OOM_FACTS.items()}
    return {key: next(group for group in match.groups() if group) for key, match in found.items() if match}


def _nccl(message: str) -> dict[str, str]:
    cause, name = _NCCL_CAUSE.search(message), _NCCL_NAME.search(message)
    words = [cause[1].split(" (")[0].strip()] if cause else []
    words += [f"({name[1]})" if words else name[1]] if name else []
    return {"error": " ".join(words)} if words else {}


def _rendezvous(message: str, match: re.Match[str]) -> dict[str, str]:
    data: dict[str, str] = {}
    joined, connect = _JOINED.search(message), _CONNECT.search(message)
    if joined:
        data |= {"joined": joined[1], "expected": joined[2]}
    if match["after"]:
        data["seconds"] = match["after"]
    elif match["wait"]:
        data["seconds"] = str(int(match["wait"]) // 1000)
    elif connect:
        data["seconds"] = str(int(connect[1]) // (1000 if connect[2] == "ms" else 1))
    return data
