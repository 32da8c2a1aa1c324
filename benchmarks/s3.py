"""The folder of recordings into, and back from, a real S3 server on the same machine: SeaweedFS, on loopback.

Both sides send to one server; it takes its share of the same processors. What plain concurrent PUTs of as many bytes
reach on it in the same run is measured beside them: no backup can be faster than that there.
"""

import itertools
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.pairs import Bench, Side
from benchmarks.processes import Run
from benchmarks.recordings import DECLARATION, prepare
from benchmarks.restic import Restic
from benchmarks.restore import compare_folders
from benchmarks.tenure import Tenure

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.s3server import Server
from support.seaweed import running

PUTS_AT_ONCE = 4
OBJECT_BYTES = 32 * 1024 * 1024

_numbers = itertools.count(1)


def _size(server: Server, bucket: str, prefix: str) -> int:
    pages = server.admin.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sum(one["Size"] for page in pages for one in page.get("Contents", ()))


@dataclass(slots=True, kw_only=True)
class TenureS3(Tenure):
    """Tenure with its repository and two key stores in buckets."""

    server: Server
    bucket: str
    prefix: str = ""

    def begin(self) -> None:
        """Make an empty repository below a prefix of its own, not timed."""
        self.prefix = f"ours-{next(_numbers)}"
        self.env = {
            "AWS_ACCESS_KEY_ID": self.server.access.access_key,
            "AWS_SECRET_ACCESS_KEY": self.server.access.secret_key,
        }
        places = {
            n: f"s3://{self.bucket}/{self.prefix}/{n}?endpoint={self.server.endpoint}"
            for n in ("data", "a", "b")
        }
        self.stores = (
            "--object-store", places["data"], "--key-store", f"a={places['a']}", "--key-store", f"b={places['b']}",
        )  # fmt: skip
        Tenure.begin(self)

    def stored(self) -> int:
        """Return the bytes below the prefix."""
        return _size(self.server, self.bucket, f"{self.prefix}/")


@dataclass(slots=True, kw_only=True)
class ResticS3(Restic):
    """restic with its repository in a bucket."""

    server: Server
    bucket: str
    prefix: str = ""
    more: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """Make an empty repository below a prefix of its own, not timed."""
        self.prefix = f"peer-{next(_numbers)}"
        self.more = {
            "RESTIC_REPOSITORY": f"s3:{self.server.endpoint}/{self.bucket}/{self.prefix}",
            "AWS_ACCESS_KEY_ID": self.server.access.access_key,
            "AWS_SECRET_ACCESS_KEY": self.server.access.secret_key,
        }
        Restic.begin(self)

    def environment(self) -> dict[str, str]:
        return Restic.environment(self) | self.more

    def stored(self) -> int:
        """Return the bytes below the prefix."""
        return _size(self.server, self.bucket, f"{self.prefix}/")


@dataclass(slots=True, kw_only=True)
class PlainPuts:
    """As many bytes as a side stores, as objects of a pack's size, by boto3 and some threads; no backup at all."""

    scratch: Path
    server: Server
    bucket: str
    total: int

    def begin(self) -> None:
        """There is nothing to make."""

    def snapshot(self) -> Run:
        """Put them."""
        body = bytes(bytearray(range(256))) * (OBJECT_BYTES // 256)
        sizes = [OBJECT_BYTES] * (self.total // OBJECT_BYTES) + [self.total % OBJECT_BYTES]
        begun = time.perf_counter()
        with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
            list(pool.map(lambda size: self._put(body[:size]), sizes))
        return Run(seconds=time.perf_counter() - begun, peak=0)

    def _put(self, body: bytes) -> Any:
        return self.server.admin.put_object(Bucket=self.bucket, Key=f"plain-{next(_numbers)}", Body=body)

    def restore(self, to: Path) -> Run:
        """Refuse: nothing was backed up.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError

    def stored(self) -> int:
        """Return the bytes."""
        return self.total


def measure(bench: Bench) -> None:
    """Time snapshots into the server, against restic and against plain PUTs; then restores from it."""
    source = prepare(bench)
    with running() as server:
        bucket = server.bucket()
        ours = TenureS3(
            scratch=bench.folder / "ours",
            source=source,
            declaration=DECLARATION,
            server=server,
            bucket=bucket,
        )
        peer = ResticS3(
            binary=bench.peer, scratch=bench.folder / "peer", source=source, server=server, bucket=bucket
        )
        sides: tuple[Side, Side] = (ours, peer)
        bench.compare("s3-first", sides, lambda side: side.snapshot(), before_run=lambda side: side.begin())
        bench.compare("s3-unchanged", sides, lambda side: side.snapshot())
        _restores(bench, sides, source)
        plain = PlainPuts(scratch=bench.folder / "plain", server=server, bucket=bucket, total=ours.stored())
        beside: tuple[Side, Side] = (ours, plain)
        bench.compare(
            "s3-first-of-plain-puts",
            beside,
            lambda side: side.snapshot(),
            before_run=lambda side: side.begin(),
        )


def _restores(bench: Bench, sides: tuple[Side, Side], source: Path) -> None:
    target = bench.folder / "restored"
    for side in sides:
        shutil.rmtree(target, ignore_errors=True)
        side.restore(target)
        compare_folders(source, target)

    def empty(_: Side) -> None:
        shutil.rmtree(target, ignore_errors=True)

    bench.compare("s3-restore", sides, lambda side: side.restore(target), before_run=empty)
    empty(sides[0])
