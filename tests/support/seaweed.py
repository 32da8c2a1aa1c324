"""A real S3 server for tests: SeaweedFS, on loopback, in a temporary folder, ended by its pid."""

import contextlib
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tenure.objectstore.s3client import S3Access, S3Settings

SECONDS_TO_START = 60
_GRPC = 10_000  # SeaweedFS opens each port a second time so much higher
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


def client(endpoint: str, access: S3Access) -> Any:
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


@dataclass(slots=True)
class _Machine:
    """The server's process, its folder and its ports."""

    folder: Path
    port: int
    access: S3Access
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with what the folder holds, and wait until it answers."""
        self.process = _started(self.folder, self.port, self.access)
        wait_for(f"http://127.0.0.1:{self.port}", self.process, self.folder / "log")

    def kill(self) -> None:
        """Kill it."""
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        for kind, above in (("s3", 0), ("master", 1), ("volume", 2), ("filer", 3)):
            left = Path(tempfile.gettempdir()) / f"seaweedfs-{kind}-grpc-{self.port + above + _GRPC}.sock"
            left.unlink(missing_ok=True)


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Start a server; it is killed at the end, since it takes long to stop and nothing of it is kept."""
    folder = Path(tempfile.mkdtemp(prefix="seaweed-"))
    access = S3Access(access_key=secrets.token_hex(10).upper(), secret_key=secrets.token_hex(20))
    machine = _Machine(folder, free_ports(), access)
    try:
        machine.start()
        endpoint = f"http://127.0.0.1:{machine.port}"
        yield Server(
            endpoint=endpoint,
            access=access,
            admin=client(endpoint, access),
            kill=machine.kill,
            start=machine.start,
        )
    finally:
        machine.kill()
        shutil.rmtree(folder, ignore_errors=True)


def free_ports() -> int:
    """Return the first of four ports in a row that are free, as are their seconds."""
    for _ in range(200):
        first = 20_000 + secrets.randbelow(30_000)
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(first, first + 4):
                for each in (port, port + _GRPC):
                    one = held.enter_context(socket.socket())
                    one.bind(("127.0.0.1", each))
            return first
    raise RuntimeError("no four free ports in a row were found")


def _started(folder: Path, port: int, access: S3Access) -> subprocess.Popen[bytes]:
    identity = {
        "name": "admin",
        "credentials": [{"accessKey": access.access_key, "secretKey": access.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir(exist_ok=True)
    program = Path(sys.executable).with_name("weed")
    # In one process, calling nobody home, few volumes for each bucket, and at once a master of itself.
    command = [
        str(program), "-logtostderr", "server", f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-master.telemetry=false", "-master.electionTimeout=1s", f"-master.port={port + 1}",
        "-master.volumeSizeLimitMB=256", f"-volume.port={port + 2}", "-volume.max=1000", "-volume.preStopSeconds=0",
        "-filer", f"-filer.port={port + 3}", f"-filer.localSocket={folder}/filer.sock",
        "-s3", f"-s3.port={port}", f"-s3.config={folder}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0",
        f"-s3.localSocket={folder}/s3.sock", "-s3.allowDeleteBucketNotEmpty=false", "-s3.autoCreateBucket=false",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "WEED_MASTER_VOLUME_GROWTH_COPY_1": "2",
        "GOMEMLIMIT": "768MiB",
        "WEED_S3_SSE_KEY": secrets.token_hex(16),
    }
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)


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
