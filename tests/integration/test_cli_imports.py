"""What a command loads: libraries of services are for installations that use these services."""

import subprocess
import sys

import pytest

from support.cli import Site

HEAVY = ("boto3", "botocore", "hvac", "requests", "sqlalchemy.dialects.postgresql")
SCRIPT = f"""
import atexit, sys
from tenure.cli.main import run
atexit.register(lambda: print("loaded", [m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr))
run()
"""


@pytest.mark.parametrize("words", [("snapshot",), ("snapshots",), ("status",), ("prune", "--plan")])
def test_with_keys_in_files_and_stores_in_folders_no_library_of_a_service_is_loaded(
    centre: object, site: Site, words: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], cwd=site.root, capture_output=True, text=True, check=False
    )
    assert "loaded []" in done.stderr, done.stderr
