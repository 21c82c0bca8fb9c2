"""GPU types: from a driver's product name to the short word people type after ``--gpu-type``, and whether a word means a device."""

import re

_VENDORS = {"nvidia", "amd", "geforce", "tesla", "quadro", "instinct", "radeon"}
_FAMILIES = {"rtx", "gtx", "rx", "titan", "pro"}
_SUFFIXES = {"ti", "super", "ada", "xt", "xtx", "gre"}


def short(product: str) -> str:
    """The short name of a product: ``NVIDIA H100 80GB HBM3`` is ``H100``, ``NVIDIA GeForce RTX 4090`` is ``RTX-4090``."""
    words = [word for word in re.split(r"[\s_-]+", product.strip()) if word and word.lower() not in _VENDORS]
    kept: list[str] = []
    named = False
    for word in words:
        lowered = word.lower()
        if named and lowered not in _SUFFIXES:
            break
        kept.append(word)
        named = named or lowered not in _FAMILIES
    return "-".join(kept) or product.strip() or "GPU"


def matches(asked: str, *products: str | None) -> bool:
    """Whether ``asked`` means one of these names of a device (short, full, or a label such as ``NVIDIA-H100-80GB-HBM3``).

    Case, spaces, ``-`` and ``_`` do not count. ``asked`` may leave words out (``h100-80gb``), never parts of a word: ``H10`` is not
    ``H100``, and ``A6000`` is ``RTX A6000``. Words that make another product (``Ti``, ``SUPER``, ``Ada``) cannot be left out.
    """
    wanted = _words(asked)
    if not wanted:
        return False
    for product in products:
        if not product:
            continue
        has = _words(product)
        if "".join(wanted) in {"".join(has), "".join(_words(short(product)))}:
            return True
        if set(wanted) <= set(has) and not (set(has) - set(wanted)) & _SUFFIXES:
            return True
    return False


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", text.lower()) if word]
