"""Groups chunks that lie together in a pack into ranges worth one request each."""

from collections.abc import Iterable, Iterator

from tenure.repository.places import Place

GAP_BYTES = 256 * 1024
"""Two ranges of a pack that lie closer than this are read in one request."""

SPAN_BYTES = 16 * 1024 * 1024
"""The most that one request reads."""


def in_spans(
    places: Iterable[Place], *, most: int = SPAN_BYTES, near: int = GAP_BYTES
) -> Iterator[list[Place]]:
    """Yield groups of places, in the order of packs and offsets.

    `most`: bytes of one; `near`: bytes between two chunks that are read along.
    """
    group: list[Place] = []
    for place in sorted(places, key=lambda p: (p.pack, p.offset)):
        if group:
            first, last = group[0], group[-1]
            beside = place.offset - (last.offset + last.length) <= near
            fits = place.offset + place.length - first.offset <= most
            if place.pack != first.pack or not beside or not fits:
                yield group
                group = []
        group.append(place)
    if group:
        yield group
