"""Servers that many tests share; each is started when the first test asks for it."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from support import ceph, seaweed
from support.s3server import Server

if TYPE_CHECKING:
    from support.baoserver import BaoServer
    from support.kmsserver import KmsServer

# How long an example takes says more about what else the machine does than about Tenure.
settings.register_profile("tenure", deadline=None)
settings.load_profile("tenure")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    """Run one S3 server for all tests of this process that want one: SeaweedFS, or Ceph where S3_SERVER says so."""
    with ceph.running() if os.environ.get("S3_SERVER") == "ceph" else seaweed.running() as server:
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


@pytest.fixture(scope="session")
def kms_server() -> "Iterator[KmsServer]":
    """Run one KMS for all tests of this process that want one."""
    from support import kmsserver

    with kmsserver.running() as server:
        yield server


@pytest.fixture
def kms(kms_server: "KmsServer") -> "KmsServer":
    """Return the KMS as a fresh one would be, but for the keys that other tests made."""
    kms_server.busy, kms_server.hanging, kms_server.before = 0, 0, lambda _: None
    kms_server.asked.clear()
    return kms_server


@pytest.fixture(scope="session")
def bao() -> "Iterator[BaoServer]":
    """Run one transit engine for all tests of this process that want one."""
    from support import baoserver

    with baoserver.running() as server:
        yield server
