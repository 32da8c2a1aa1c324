"""A second S3 server for tests: the RADOS Gateway of Ceph, one monitor, one store in memory, on loopback.

It speaks the S3 of an older on-premises Ceph: no condition on buckets with versions, no checksums but MD5. Its programs
are the system's (`make ceph` installs them); nothing of Ceph runs where they are missing.
"""

import os
import signal
import subprocess
import time
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from support.s3server import Server, serving, wait_for
from tenure.objectstore.s3client import S3Access

CONF = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon}/0,v1:127.0.0.1:{mon_old}/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
log file = {folder}/log/$name.log
mon cluster log file = {folder}/log/cluster.log
pid file = {folder}/run/$name.pid
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 2000
debug ms = 0/0
ms mon client mode = crc
paxos propose interval = 0.05
paxos min wait = 0.02
auth allow insecure global id reclaim = false
mon warn on insecure global id reclaim allowed = false
[mon]
mon data = {folder}/mon/$id
mon data avail crit = 1
mon data avail warn = 1
[osd]
osd data = {folder}/osd/$id
osd objectstore = memstore
osd memory target = 1073741824
memstore device bytes = 4294967296
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast tcp_nodelay=1 endpoint=127.0.0.1:{port}
rgw crypt require ssl = false
rgw lc debug interval = -1
rgw gc obj min wait = 5
rgw gc processor period = 10
rgw gc processor max time = 10
"""


@dataclass(slots=True)
class _Cluster:
    """The processes, their folder and their ports."""

    folder: Path
    port: int
    access: S3Access
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def found(self) -> None:
        """Make the cluster and its one user."""
        for name in ("mon", "osd/0", "log", "run"):
            (self.folder / name).mkdir(parents=True)
        fsid = str(uuid.uuid4())
        text = CONF.format(
            fsid=fsid, folder=self.folder, mon=self.port + 1, mon_old=self.port + 2, port=self.port
        )
        (self.folder / "ceph.conf").write_text(text)
        addresses = f"[v2:127.0.0.1:{self.port + 1},v1:127.0.0.1:{self.port + 2}]"
        self._call("monmaptool", "--create", "--fsid", fsid, "--addv", "a", addresses, "monmap")
        self._call("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap")
        self._start("ceph-mon", "-f", "-i", "a")
        osd = str(uuid.uuid4())
        self._until("ceph", "--connect-timeout", "10", "osd", "new", osd)
        self._call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._start("ceph-osd", "-f", "-i", "0")
        self._call(
            "radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=admin", "--display-name=admin",
            f"--access-key={self.access.access_key}", f"--secret-key={self.access.secret_key}",
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start the gateway and wait until it answers."""
        gateway = self._start("radosgw", "-f", "-n", "client.rgw")
        wait_for(f"http://127.0.0.1:{self.port}", gateway, self.folder / "log" / "radosgw.out")

    def kill(self) -> None:
        """Kill the gateway; the store in memory lives on."""
        gateway = self.processes.pop()
        os.kill(gateway.pid, signal.SIGKILL)
        gateway.wait()

    def end(self) -> None:
        """End all of it."""
        for process in reversed(self.processes):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "CEPH_CONF": str(self.folder / "ceph.conf")}

    def _call(self, *words: str) -> None:
        done = subprocess.run(
            words,
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(words[:3])} failed:\n{done.stderr[-2000:]}")

    def _until(self, *words: str) -> None:
        until = time.monotonic() + 60
        while True:
            try:
                self._call(*words)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
            else:
                return

    def _start(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log" / f"{program}.out").open("ab") as log:
            process = subprocess.Popen(
                [program, *words], stdout=log, stderr=log, env=self._environment(), cwd=self.folder
            )
        self.processes.append(process)
        return process


def running() -> AbstractContextManager[Server]:
    """Run a cluster and its gateway until what is returned is left."""
    return serving(_Cluster, name="ceph", conditions=False)
