"""Amounts of memory and CPU as Kubernetes spells them (``64Gi``, ``500M``, ``1.5``, ``500m``), and as people do (``2g``, ``2 GiB``).

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re

_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGTPE])(I?))?B?\Z", re.ASCII | re.IGNORECASE)
_POWERS = {unit: power for power, unit in enumerate("KMGTPE", start=1)}

MEMORY_ALLOWED = "bytes, or a number with K, M, G, T (powers of 1000) or Ki, Mi, Gi, Ti (of 1024): 64Gi, 2g, 500MB"
CPU_ALLOWED = "a number of cores such as 4, 1.5 or 500m"


def parse_memory(text: str) -> int:
    """Bytes of a memory quantity. Case does not matter, nor a B at the end: only an i makes the difference (``2g`` is 2G, ``2gib`` 2Gi).

    ``500m`` is 500 million bytes: Kubernetes would read half a byte, which nobody means.

    Raises:
        ValueError: not a quantity.
    """
    match = _MEMORY.match(text.strip())
    if not match:
        raise ValueError("not a memory quantity")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * (base ** _POWERS[match[2].upper()] if match[2] else 1))


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
