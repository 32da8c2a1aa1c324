"""Our side: every command line that the benchmarks use, and the configuration they run with."""

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.processes import Run, run, size_of

COMMAND = Path(sys.executable).with_name("tenure")
SOURCE = "bench"


@dataclass(slots=True, kw_only=True)
class Tenure:
    """Tenure on one source, its repository, keys and control database in a scratch folder."""

    scratch: Path
    source: Path
    declaration: dict[str, object]  # the source as `tenure.yaml` declares it, without its path
    stores: tuple[str, ...] = ()  # where the repository lies, as options of `tenure init`
    env: dict[str, str] = field(default_factory=dict)

    @property
    def _config(self) -> Path:
        return self.scratch / "tenure.yaml"

    def _call(self, *words: str) -> Run:
        return run(
            [str(COMMAND), *words, "--config", str(self._config), "--quiet"], cwd=self.scratch, env=self.env
        )

    def begin(self) -> None:
        """Make an empty repository and its keys, and name the source; not timed."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        run([str(COMMAND), "init", str(self.scratch), "--quiet", *self.stores], env=self.env)
        self.name_source()

    def name_source(self) -> None:
        """Write the source into the configuration."""
        config = yaml.safe_load(self._config.read_text(encoding="utf-8"))
        config["sources"] = {SOURCE: {**self.declaration, "path": str(self.source)}}
        self._config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def snapshot(self) -> Run:
        """Take a snapshot."""
        return self._call("snapshot", SOURCE)

    def restore(self, to: Path) -> Run:
        """Restore the newest snapshot below a folder that is not there yet."""
        if not self.source.is_file():
            return self._call("restore", SOURCE, "--to", str(to))
        to.mkdir()
        return self._call("restore", SOURCE, "--to", str(to / self.source.name))

    def stored(self) -> int:
        """Return the bytes of the repository and of both key stores."""
        return sum(size_of(self.scratch / name) for name in ("repository", "key-store-1", "key-store-2"))


def version() -> str:
    """Return what `tenure --version` says."""
    return subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True).stdout.strip()
