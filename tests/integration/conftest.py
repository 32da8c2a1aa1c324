"""Installations seen through the command line: a small centre with old records, and places in buckets."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.cli import Site
from support.retention import Centre, found
from support.s3site import below


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return found(tmp_path / "site", at=datetime(2024, 1, 1, tzinfo=UTC))


@pytest.fixture
def site(centre: Centre) -> Site:
    return Site(centre.folder)


@pytest.fixture
def buckets(s3_bucket: str, s3_versioned_bucket: str) -> tuple[str, str]:
    """Return places for the objects and for the keys, each a folder of its own in a bucket that tests share."""
    name = below()
    return f"{s3_bucket}/{name}", f"{s3_versioned_bucket}/{name}"
