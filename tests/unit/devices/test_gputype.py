"""From a driver's product names to what people type after ``--gpu-type``."""

import pytest

from gpuctl.model.gputype import matches, short


@pytest.mark.parametrize(
    ("product", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA-H100-80GB-HBM3", "H100"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA H200", "H200"),
        ("Tesla V100-SXM2-32GB", "V100"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX-4070-Ti-SUPER"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX-PRO-6000"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("Quadro RTX 8000", "RTX-8000"),
        ("TITAN RTX", "TITAN-RTX"),
        ("AMD Instinct MI300X", "MI300X"),
        ("AMD Radeon RX 7900 XTX", "RX-7900-XTX"),
        ("  ", "GPU"),
    ],
)
def test_short_names(product: str, name: str) -> None:
    assert short(product) == name
    if product.strip():
        assert matches(name, product)
        assert matches(product, product)


@pytest.mark.parametrize("asked", ["h100", "H100", "H100-80GB", "h100_80gb_hbm3", "NVIDIA H100", "nvidia-h100-80gb-hbm3"])
def test_spellings_of_an_h100(asked: str) -> None:
    assert matches(asked, "H100", "NVIDIA H100 80GB HBM3")


@pytest.mark.parametrize(
    ("asked", "product"),
    [
        ("H10", "NVIDIA H100 80GB HBM3"),
        ("H100", "NVIDIA H200"),
        ("H100-40GB", "NVIDIA H100 80GB HBM3"),
        ("A10", "NVIDIA A100-SXM4-40GB"),
        ("RTX-4070", "NVIDIA GeForce RTX 4070 Ti SUPER"),
        ("RTX-6000", "NVIDIA RTX 6000 Ada Generation"),
        ("", "NVIDIA H100 80GB HBM3"),
        ("-", "NVIDIA H100 80GB HBM3"),
    ],
)
def test_near_misses(asked: str, product: str) -> None:
    assert not matches(asked, product)


def test_squashed_spellings_and_unknown_products() -> None:
    assert matches("rtx4090", "NVIDIA GeForce RTX 4090")
    assert matches("A6000", "NVIDIA RTX A6000")
    assert not matches("H100", None)
