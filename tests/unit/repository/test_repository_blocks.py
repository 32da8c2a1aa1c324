"""Blocks begin at a page, so that files can be written straight from them."""

import mmap

import numpy as np
import pytest

from tenure.repository.blocks import block


@pytest.mark.parametrize("size", [0, 1, 4097, 2 * 1024 * 1024, 32 * 1024 * 1024 + 3])
def test_a_block_has_its_size_is_zero_and_begins_at_a_page(size: int) -> None:
    view = block(size)

    assert len(view) == size
    assert not view.readonly
    array = np.frombuffer(view, np.uint8)
    assert not array.any()
    assert not size or array.ctypes.data % mmap.PAGESIZE == 0


def test_a_block_is_nobody_elses() -> None:
    one, other = block(10), block(10)

    one[:] = b"0123456789"

    assert bytes(other) == bytes(10)
