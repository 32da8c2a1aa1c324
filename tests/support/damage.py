"""Damage to single chunks in packs."""

from support.repo import House
from tenure.repository import names
from tenure.repository.chunkreader import ChunkReader
from tenure.repository.model import ChunkRef
from tenure.repository.secrets import STRUCTURE


def spoil(house: House, reader: ChunkReader, node: ChunkRef) -> None:
    """Change one bit of a structure chunk in its pack."""
    place = reader.locate(STRUCTURE, node)
    assert place is not None
    assert house.objects is not None
    name = names.pack(place.pack)
    raw = bytearray(house.objects.get(name))
    raw[place.offset + 3] ^= 1
    house.objects.delete(name)
    house.objects.put(name, raw)
