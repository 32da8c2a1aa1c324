"""A real S3 server for tests: SeaweedFS, on loopback, in a temporary folder, ended by its pid."""

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from support.s3server import SECOND_PORT, Server, serving, wait_for
from tenure.objectstore.s3client import S3Access


@dataclass(slots=True)
class _Machine:
    """The server's process, its folder and its ports."""

    folder: Path
    port: int
    access: S3Access
    process: subprocess.Popen[bytes] | None = None

    def found(self) -> None:
        """Start it for the first time."""
        self.start()

    def end(self) -> None:
        """Kill it."""
        self.kill()

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
            left = (
                Path(tempfile.gettempdir()) / f"seaweedfs-{kind}-grpc-{self.port + above + SECOND_PORT}.sock"
            )
            left.unlink(missing_ok=True)


def running() -> AbstractContextManager[Server]:
    """Run a server until what is returned is left."""
    return serving(_Machine, name="seaweed")


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
