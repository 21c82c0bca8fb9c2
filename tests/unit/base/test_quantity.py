"""Amounts of memory as people write them."""

import pytest

from gpuctl.base.quantity import parse_memory


@pytest.mark.parametrize(
    ("spellings", "size"),
    [
        (("2G", "2g", "2GB", "2gb", "2 GB", "2.0g"), 2_000_000_000),
        (("2Gi", "2gi", "2GiB", "2gib", "2GIB", " 2 GiB "), 2 << 30),
        (("500M", "500m", "500mb", "0.5g"), 500_000_000),
        (("64Ki", "64ki", "64KiB"), 64 << 10),
        (("3k", "3K", "3kB", "3000", "3000B", "3000b"), 3000),
        (("1.5Ti", "1.5tib"), 3 << 39),
    ],
)
def test_one_size_in_every_spelling(spellings: tuple[str, ...], size: int) -> None:
    assert {parse_memory(each) for each in spellings} == {size}


@pytest.mark.parametrize("text", ["", "g", "-1g", "2i", "2iB", "2x", "2gg", "2 g b", "1e9", "2,5g", "²g", "2\u212a", "0x10"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a memory quantity"):
        parse_memory(text)
