"""Prices: what a gang costs an hour and at its time limit, from the price list of a profile.

A price is per GPU and hour. Decimals in, so that 4.10 stays 4.10; what is shown is rounded once, at the end.
"""

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import NamedTuple

from gpuctl.base.errors import nearest
from gpuctl.policy.placement import same_type

CURRENCY = "$"
EVERY = "*"
"""As a type in a price list: every GPU that no other entry names."""

ALLOWED = "TYPE:AMOUNT per GPU and hour, such as H100:4.10,A100:2"

_TYPE = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9 ._-]*")
_SIGNS = frozenset("$€£¥₹₩₽¢")


class Prices(NamedTuple):
    """A price list: per GPU and hour, by GPU type as a person wrote it."""

    by_type: Mapping[str, Decimal]
    currency: str = CURRENCY

    def per_gpu(self, gpu_type: str | None) -> Decimal | None:
        """The price of one GPU for one hour; None when the list has none for it."""
        for name, price in self.by_type.items():
            if name != EVERY and gpu_type is not None and (same_type(name, gpu_type) or same_type(gpu_type, name)):
                return price
        return self.by_type.get(EVERY)

    def dearest(self) -> Decimal | None:
        """The highest price of the list."""
        return max(self.by_type.values(), default=None)


class Cost(NamedTuple):
    """What a gang costs: an hour, and when it runs to its limit (None: it has none)."""

    per_hour: Decimal
    at_limit: Decimal | None
    currency: str = CURRENCY


def parse(text: str, *, currency: str = CURRENCY) -> Prices:
    """``H100:4.10,A100:2``; a bare ``4.10`` is every GPU's price.

    Raises:
        ValueError: what is wrong, with what is allowed.
    """
    prices: dict[str, Decimal] = {}
    for part in text.split(","):
        name, colon, amount = part.strip().rpartition(":")
        name = name.strip() if colon else EVERY
        if not name:
            raise ValueError(f"{part.strip()} names no GPU type")
        if not _TYPE.fullmatch(name):
            raise ValueError(f"{name} is no GPU type")
        if name in prices:
            raise ValueError(f"{name} has two prices")
        try:
            price = Decimal(amount.strip().lstrip("".join(_SIGNS)))
        except InvalidOperation:
            raise ValueError(f"{amount.strip() or 'nothing'} is no amount") from None
        if not price.is_finite() or price < 0:
            raise ValueError(f"{amount.strip()} is no amount")
        prices[name] = price
    return Prices(prices, currency)


def cost(prices: Prices | None, *, gpu_type: str | None, gpus: int, gpu_seconds: int | None) -> Cost | None:
    """What ``gpus`` GPUs at once cost an hour, and ``gpu_seconds`` in all; None where nobody named a price for the type."""
    price = prices.per_gpu(gpu_type) if prices is not None else None
    if prices is None or price is None:
        return None
    return Cost(price * gpus, price * gpu_seconds / 3600 if gpu_seconds is not None else None, prices.currency)


def money(amount: Decimal | float, currency: str = CURRENCY) -> str:
    """``$131``, ``$4.10``, ``131 EUR``: whole units from 100 on, hundredths below."""
    value = Decimal(str(amount))
    rounded = value.quantize(Decimal(1) if abs(value) >= 100 else Decimal("0.01"), rounding=ROUND_HALF_UP)
    text = f"{rounded:,}"
    return f"{text} {currency}" if currency.isalpha() and len(currency) > 1 else f"{currency}{text}"


def text(per_hour: Decimal | float, at_limit: Decimal | float | None, currency: str, *, limit: str | None) -> str:
    """``$131/h, $787 at 6h``; only the first half without a limit."""
    hourly = f"{money(per_hour, currency)}/h"
    return hourly if at_limit is None or limit is None else f"{hourly}, {money(at_limit, currency)} at {limit}"


def problem(currency: str) -> str | None:
    """What is wrong with a currency as a profile names it, None when nothing is."""
    if currency in _SIGNS or re.fullmatch(r"[A-Z]{3}", currency):
        return None
    close = nearest(currency.upper(), ("USD", "EUR", "GBP", "JPY", "CHF"))
    return "is no currency" + (f"; did you mean {close}?" if close else "")
