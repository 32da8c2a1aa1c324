"""A small centre whose records are years old, and its installation seen through the command line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.cli import Site
from support.retention import Centre, found


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return found(tmp_path / "site", at=datetime(2024, 1, 1, tzinfo=UTC))


@pytest.fixture
def site(centre: Centre) -> Site:
    return Site(centre.folder)
