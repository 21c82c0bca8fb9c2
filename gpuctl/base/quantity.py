"""Amounts of memory and CPU as Kubernetes spells them (``64Gi``, ``500M``, ``1.5``, ``500m``).

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re

_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTPE]i?|k)?B?\Z")
_FACTORS = {None: 1, "": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18} | {
    unit + "i": 1024 ** (power + 1) for power, unit in enumerate("KMGTPE")
}

MEMORY_ALLOWED = "bytes, or a number with K, M, G, T or Ki, Mi, Gi, Ti (64Gi)"
CPU_ALLOWED = "a number of cores such as 4, 1.5 or 500m"


def parse_memory(text: str) -> int:
    """Bytes of a memory quantity.

    Raises:
        ValueError: not a quantity.
    """
    match = _MEMORY.match(text.strip())
    if not match:
        raise ValueError("not a memory quantity")
    return int(float(match[1]) * _FACTORS[match[2]])


def parse_cpu(text: str) -> int:
    """Thousandths of a core (``1.5`` is 1500, ``500m`` is 500).

    Raises:
        ValueError: not a CPU quantity.
    """
    stripped = text.strip()
    match = re.match(r"(\d+)m\Z", stripped)
    if match:
        return int(match[1])
    match = re.match(r"\d+(\.\d{1,3})?\Z", stripped)
    if not match:
        raise ValueError("not a CPU quantity")
    return round(float(stripped) * 1000)


def memory(count: float) -> str:
    """Bytes for people, in binary units with at most one decimal: ``64Gi``, ``1.5Gi``, ``812Mi``."""
    value = float(count)
    for unit in ("", "Ki", "Mi", "Gi", "Ti", "Pi"):
        if abs(value) < 1024 or unit == "Pi":
            return f"{value:.0f}{unit}" if value >= 10 or value == int(value) else f"{value:.1f}{unit}"
        value /= 1024
    raise AssertionError("unreachable")
