"""Our side: every command line that the benchmarks use, and the configuration they run with."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.processes import Run, run, size_of

COMMAND = Path(sys.executable).with_name("tenure")


@dataclass(slots=True, kw_only=True)
class Tenure:
    """Tenure on one source, its repository, keys and control database in a scratch folder."""

    scratch: Path
    source: Path
    declaration: dict[str, object]  # the source as `tenure.yaml` declares it, without its path

    def _call(self, *words: str) -> Run:
        return run(
            [str(COMMAND), *words, "--config", str(self.scratch / "tenure.yaml"), "--quiet"], cwd=self.scratch
        )

    def begin(self) -> None:
        """Make an empty repository and its keys, not timed."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        config = {
            "repository": f"file:{self.scratch / 'repository'}",
            "sources": {"bench": {**self.declaration, "path": str(self.source)}},
        }
        (self.scratch / "tenure.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        self._call("init")

    def snapshot(self) -> Run:
        """Take a snapshot."""
        return self._call("snapshot", "bench")

    def restore(self, to: Path) -> Run:
        """Restore the newest snapshot into a folder."""
        return self._call("restore", "latest", "--to", str(to))

    def stored(self) -> int:
        """Return the bytes of the repository, its key pages included."""
        return size_of(self.scratch / "repository")


def version() -> str:
    """Return what `tenure --version` says."""
    return subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True).stdout.strip()
