"""Large blocks are kept where the C library can, and their absence harms nothing."""

import ctypes
import subprocess
import sys

import pytest

from tenure.cli import blocks

# In a process of its own, for the setting stays: 12 MiB freed and asked for again, 50 times.
AGAIN_AND_AGAIN = """
import resource
from tenure.cli.blocks import keep_blocks
if {kept}:
    assert keep_blocks()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    held = [bytes(4 << 20) for _ in range(3)]
    held = [bytearray(block) for block in held]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, kept: bool) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", AGAIN_AND_AGAIN.format(kept=kept)], capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_blocks_that_were_freed_are_used_again_without_faulting_them_in() -> None:
    # 24 MiB are alive at once: 6,144 pages of 4 KiB, to be faulted in once or twice, not 50 times.
    assert faults(kept=True) < 3 * 6144


def test_a_c_library_without_the_call_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert blocks.keep_blocks() is False
