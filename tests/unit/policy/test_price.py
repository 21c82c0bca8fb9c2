from decimal import Decimal

import pytest

from gpuctl.policy import price


def test_a_list_by_type() -> None:
    prices = price.parse("H100:4.10, A100:2")
    assert prices.per_gpu("NVIDIA-H100-80GB-HBM3") == Decimal("4.10")
    assert prices.per_gpu("h100") == Decimal("4.10")
    assert prices.per_gpu("A100") == 2
    assert prices.per_gpu("B200") is None
    assert prices.per_gpu(None) is None
    assert prices.dearest() == Decimal("4.10")


def test_one_price_for_every_type_and_exceptions_from_it() -> None:
    prices = price.parse("3.5,H100:$4")
    assert prices.per_gpu("A100") == prices.per_gpu(None) == Decimal("3.5")
    assert prices.per_gpu("H100") == 4


@pytest.mark.parametrize(
    "text", ["", "H100:", "H100:much", "H100:-1", "H100:nan", "H100:inf", ":4", "H100:1,H100:2", "1,2", "H100:4;A100:2"]
)
def test_what_is_no_price_list(text: str) -> None:
    with pytest.raises(ValueError, match=r"no amount|names no GPU type|two prices|is no GPU type"):
        price.parse(text)


def test_the_cost_of_a_gang() -> None:
    prices = price.parse("H100:4.10", currency="EUR")
    found = price.cost(prices, gpu_type="H100", gpus=32, gpu_seconds=32 * 6 * 3600)
    assert found == price.Cost(Decimal("131.20"), Decimal("787.2"), "EUR")
    endless = price.cost(prices, gpu_type="H100", gpus=32, gpu_seconds=None)
    assert endless is not None
    assert endless.at_limit is None
    assert price.cost(prices, gpu_type="A100", gpus=1, gpu_seconds=1) is None
    assert price.cost(None, gpu_type="H100", gpus=1, gpu_seconds=1) is None


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (131.2, "$", "$131"),
        (787.2, "$", "$787"),
        (4.1, "€", "€4.10"),
        (99.995, "$", "$100.00"),
        (1234567, "EUR", "1,234,567 EUR"),
        (0, "$", "$0.00"),
    ],
)
def test_money_is_rounded_once_at_the_end(amount: float, currency: str, text: str) -> None:
    assert price.money(amount, currency) == text


def test_the_sentence() -> None:
    assert price.text(131.2, 787.2, "$", limit="6h") == "$131/h, $787 at 6h"
    assert price.text(131.2, None, "$", limit=None) == "$131/h"


def test_currencies() -> None:
    assert price.problem("$") is price.problem("€") is price.problem("CHF") is None
    assert price.problem("eur") == "is no currency; did you mean EUR?"
    assert price.problem("") is not None
