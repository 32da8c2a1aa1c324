"""What the S3 servers of tests have in common: ports, a folder, an account, buckets, and an end."""

import contextlib
import itertools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore.config import Config

from tenure.objectstore.s3client import S3Access, S3Settings

SECONDS_TO_START = 60
SECOND_PORT = 10_000
"""SeaweedFS opens each port a second time so much higher."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server. `admin`: a boto3 client that may do everything; `kill`, `start`: an outage, nothing lost.

    `conditions`: whether it refuses to replace objects on buckets with versions, too.
    """

    endpoint: str
    access: S3Access = field(repr=False)
    admin: Any
    kill: Callable[[], None]
    start: Callable[[], None]
    conditions: bool = True

    def bucket(self, *, versioned: bool = False, locked: bool = False) -> str:
        """Make a bucket of its own for a test."""
        name = f"tenure-{os.getpid()}-{next(_numbers)}"
        self.admin.create_bucket(Bucket=name, **({"ObjectLockEnabledForBucket": True} if locked else {}))
        if versioned:
            self.admin.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def settings(self, bucket: str, **changes: Any) -> S3Settings:
        """Return settings that give up soon, as tests must."""
        made = S3Settings(
            bucket=bucket,
            endpoint=self.endpoint,
            access=self.access,
            connect=2,
            read=10,
            attempts=3,
            give_up=20,
        )
        return replace(made, **changes)


def _client(endpoint: str, access: S3Access) -> Any:
    """Return a plain boto3 client."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


class Machine(Protocol):
    """The processes of a server, on four ports in a row from a first one."""

    def found(self) -> None:
        """Start it for the first time."""
        ...

    def start(self) -> None:
        """Start what `kill` ended, with what is there, and wait until it answers."""
        ...

    def kill(self) -> None:
        """Kill it; what was stored stays."""
        ...

    def end(self) -> None:
        """Kill all of it."""
        ...


@contextlib.contextmanager
def serving(
    make: Callable[[Path, int, S3Access], Machine], *, name: str, conditions: bool = True
) -> Iterator[Server]:
    """Run a server in a folder of its own; it is killed at the end, since it takes long to stop and nothing of it is kept.

    `make`: makes it of a folder, its first port and its one account; `conditions`: see `Server`.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    access = S3Access(access_key=secrets.token_hex(10).upper(), secret_key=secrets.token_hex(20))
    port = _free_ports()
    machine, endpoint = make(folder, port, access), f"http://127.0.0.1:{port}"
    try:
        machine.found()
        yield Server(
            endpoint=endpoint,
            access=access,
            admin=_client(endpoint, access),
            kill=machine.kill,
            start=machine.start,
            conditions=conditions,
        )
    finally:
        machine.end()
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports() -> int:
    """Return the first of four ports in a row that are free, as are their seconds."""
    for _ in range(200):
        first = 20_000 + secrets.randbelow(30_000)
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(first, first + 4):
                for each in (port, port + SECOND_PORT):
                    one = held.enter_context(socket.socket())
                    one.bind(("127.0.0.1", each))
            return first
    raise RuntimeError("no four free ports in a row were found")


def wait_for(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers; what it said in `log` is told where it ends before.

    Raises:
        RuntimeError: It did not start.
    """
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(endpoint, timeout=1).close()  # noqa: S310 - our own, on loopback
        except urllib.error.HTTPError:
            return  # it answers; that it refuses a stranger is right
        except OSError:
            time.sleep(0.05)
        else:
            return
    said = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"the S3 server did not start:\n{said}")
