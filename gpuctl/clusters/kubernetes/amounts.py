"""Kubernetes quantities as numbers, in every spelling an API server may answer with (``3920m``, ``64Gi``, ``1e3``, ``100u``).

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache

_SUFFIXES: dict[str, Fraction] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{suffix: Fraction(1000 ** (power + 1)) for power, suffix in enumerate("kMGTPE")},
    **{f"{suffix}i": Fraction(1024 ** (power + 1)) for power, suffix in enumerate("KMGTPE")},
}


@lru_cache(maxsize=4096)
def number(text: str | float) -> Fraction:
    """The exact value of a quantity; 0 for what is none, since one odd object must not hide a cluster."""
    if not isinstance(text, str):
        return Fraction(text)
    stripped = text.strip()
    suffix = stripped[len(stripped.rstrip("numkKMGTPEi")) :] if stripped else ""
    digits = stripped[: len(stripped) - len(suffix)] if suffix else stripped
    try:
        return Fraction(digits) * _SUFFIXES[suffix]
    except (ValueError, KeyError, ZeroDivisionError):
        return Fraction(0)


@lru_cache(maxsize=4096)
def whole(text: str | float) -> int:
    """The value, rounded down."""
    return int(number(text))


@lru_cache(maxsize=4096)
def millis(text: str | float) -> int:
    """The value in thousandths, rounded down."""
    return int(number(text) * 1000)


def of(quantities: Mapping[str, str | int] | None, resource: str) -> str | int:
    """One resource of a list, 0 when it is absent."""
    return (quantities or {}).get(resource, 0)
