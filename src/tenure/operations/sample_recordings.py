"""The recordings of the sample contact centre: a WAV file and a JSON sidecar for each recorded call."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tenure.domain.progress import ProgressTask
from tenure.operations.sample_crm import Call, Planted, stamp
from tenure.operations.sample_numbers import card_number, digits
from tenure.operations.sample_voice import PAUSE_SECONDS, TONE_SECONDS, speech, wav, with_keypad

CARD_EVERY, MENU_EVERY = (
    20,
    15,
)  # one call in so many has a card number, or a customer number, typed on the keypad
ADVICE_SHARE = 0.1  # of the calls are investment advice


def _keys(rng: np.random.Generator, position: int, seconds: int) -> tuple[str, str]:
    """Return what the caller types, "" where nothing, and its kind."""
    card = card_number(rng) + digits(rng, 3)
    if position % CARD_EVERY == 0 and len(card) * (TONE_SECONDS + PAUSE_SECONDS) < seconds - 1:
        return card, "keypad card number"
    if position % MENU_EVERY == 1:
        return digits(rng, 8), "keypad customer number"
    return "", ""


def _sidecar(call: Call, advice: str) -> bytes:
    content = {
        "call_id": f"C{call.interaction:08d}",
        "interaction_id": call.interaction,
        "customer_id": call.customer,
        "agent_id": call.agent,
        "queue": call.queue,
        "country": call.country,
        "advice": advice,
        "started_at": stamp(call.started)[0],
        "ended_at": stamp(call.started + call.seconds)[0],
        "caller_number": call.phone,
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def write_recordings(
    folder: Path, calls: Sequence[Call], *, rng: np.random.Generator, task: ProgressTask
) -> tuple[Planted, ...]:
    """Write a recording and a sidecar for each call; `task` advances by recordings.

    Files carry the end of their call as their time of change, so that two runs are equal in that too.
    """
    planted: list[Planted] = []
    for position, call in enumerate(calls):
        path = folder / call.path
        path.parent.mkdir(parents=True, exist_ok=True)
        voice = speech(rng, seconds=call.seconds)
        keys, kind = _keys(rng, position, call.seconds)
        if keys:
            voice = with_keypad(voice, keys, at=0.5)
            planted.append(Planted(kind=kind, data_set="call_recordings", record=call.path, text=keys))
        sidecar = path.with_suffix(".json")
        advice = "investment" if rng.random() < ADVICE_SHARE else "none"
        path.write_bytes(wav(voice))
        sidecar.write_bytes(_sidecar(call, advice))
        for written in (path, sidecar):
            os.utime(written, (call.started + call.seconds,) * 2)
        task.advance(1)
    return tuple(planted)
