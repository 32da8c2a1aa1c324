"""Servers that many tests share; each is started when the first test asks for it."""

from collections.abc import Iterator

import pytest

from support.seaweed import Server, running


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    """Run one S3 server for all tests of this process that want one."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def s3_bucket(s3_server: Server) -> str:
    return s3_server.bucket()


@pytest.fixture(scope="session")
def s3_locked_bucket(s3_server: Server) -> str:
    return s3_server.bucket(locked=True)


@pytest.fixture(scope="session")
def s3_versioned_bucket(s3_server: Server) -> str:
    return s3_server.bucket(versioned=True)
