"""How fast rows without card data pass the detector, on text like a CRM's; one core."""

import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from tenure.cards.corpus import numbers
from tenure.cards.prefilter import scan
from tenure.cards.rows import Cells, RowsPlan, redact_rows

TARGET = 500.0  # MB/s
ROWS = 150_000
_NOTES = (
    "Rückruf vereinbart, Herr Müller ist ab 17 Uhr erreichbar.",
    "Asked about the bill of last month; sent a copy by e-mail.",
    "Order 20240311-4451 has not arrived, refund of 49.90 EUR promised.",
    "Line fault reported, engineer booked for Tuesday 05/03/2024 between 10:00 and 12:00.",
    "Rechnung Nr. 2024-0034567 als Kopie verschickt.\\nHauptstr. 12\\n10115 Berlin",
    "Identity checked, contract extended. Next contact in six months.",
    "Transferred to queue 12, waited 4 minutes 30 seconds.",
)


def crm_rows(rows: int, *, device_share: float) -> bytes:
    """Return row text without card data; `device_share` of the notes name an IMEI, a SIM and a UUID."""
    rng = random.Random(1)
    lines = []
    for at in range(rows):
        note = rng.choice(_NOTES)
        if rng.random() < device_share:
            note = (
                f"IMEI {numbers.imei(rng)} blocked, SIM {numbers.iccid(rng)}, see {numbers.identifier(rng)}"
            )
        lines.append(
            f"i{100_000 + at}\ti{rng.randrange(10**6)}\tt2024-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}T10:22:"
            f"{rng.randint(10, 59)}\tt+49 15{rng.randint(0, 9)} {numbers.digits(rng, 8)}\tt{note}\tt{rng.choice(('open', 'closed'))}"
            f"\ti{rng.randrange(10**9, 10**13)}\t\\N\tr{rng.random() * 1000:.2f}\n"
        )
    return "".join(lines).encode()


def _best(action: Callable[[], object], size: int, rounds: int = 5) -> float:
    best = float("inf")
    for _ in range(rounds):
        begun = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - begun)
    return size / 1e6 / best


def run() -> list[tuple[str, float, float]]:
    """Return (name, MB/s, share of rows that became candidates) for each kind of text."""
    plan = RowsPlan(cells=(2, 3, 4), written=Cells.CLASSED)
    results = []
    for name, share in (("crm", 0.02), ("crm-devices", 0.3)):
        text = crm_rows(ROWS, device_share=share)
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == 10) + 1
        offsets = np.concatenate((np.zeros(1, np.int64), ends))
        candidates = len(scan(text, offsets)) / ROWS
        results.append((f"scan {name}", _best(partial(scan, text, offsets), len(text)), candidates))
        results.append(
            (f"redact {name}", _best(partial(redact_rows, text, offsets, plan), len(text)), candidates)
        )
    return results


if __name__ == "__main__":
    for name, rate, candidates in run():
        met = "yes" if rate >= TARGET else "no"
        print(
            f"BENCH name=cards/{name.replace(' ', '-')} ours={rate:.0f} target={TARGET:.0f} met={met} candidates={candidates:.5f}"
        )
