"""The peer: restic, at its defaults.

Compression is restic's default (auto). Its cache stays on, in the scratch folder: that is how it is used, and it
helps restic where nothing changed. A restic 0.18 is looked for on PATH, then taken from Debian's packages without
installing it; a machine that cannot reach them falls back to the version its own release has.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Run, run, size_of

WANTED = (0, 18)
RELEASE = "trixie"  # the Debian release whose restic is 0.18
SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))


def version(binary: Path) -> tuple[int, ...]:
    """Return a restic's version, () where it does not run."""
    try:
        told = subprocess.run([binary, "version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ()
    found = re.search(r"restic (\d+)\.(\d+)\.(\d+)", told)
    return tuple(map(int, found.groups())) if found else ()


def _mirrors() -> list[str]:
    """Return the Debian mirrors that this machine's own package sources name, in their order."""
    files = [SOURCES[0], *sorted(SOURCES[1].glob("*"))]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files if path.is_file())
    found = re.findall(r"^URIs:\s*(\S+)|^deb\s+(?:\[[^\]]*\]\s+)?(\S+)", text, flags=re.MULTILINE)
    return list(dict.fromkeys(uri for pair in found for uri in pair if uri.rstrip("/").endswith("/debian")))


def _download(folder: Path, options: list[str]) -> bool:
    """Fetch restic's package with the given apt options and unpack it into `folder`; say whether that worked."""
    try:
        if options:
            subprocess.run(["apt-get", "-qq", *options, "update"], check=True, capture_output=True)
        subprocess.run(
            ["apt-get", "-qq", *options, "download", "restic"], check=True, capture_output=True, cwd=folder
        )
        package = next(folder.glob("restic_*.deb"))
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError, StopIteration):
        return False
    return True


def _private_apt(folder: Path, mirror: str) -> list[str]:
    """Return options that make apt read one source only and keep its lists in `folder`: the machine stays as it is."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (folder / "sources.list").write_text(
        f"deb [signed-by={keyring}] {mirror} {RELEASE} main\n", encoding="utf-8"
    )
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "/nonexistent",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",  # apt's own user may not enter the scratch folder
    }
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def find(scratch: Path) -> Path:
    """Return a restic to run, fetched into `scratch` where none is installed.

    Raises:
        SystemExit: There is none, and none could be fetched.
    """
    folder = (scratch / "restic").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    unpacked = folder / "usr" / "bin" / "restic"
    installed = Path(shutil.which("restic") or "/nonexistent")
    for binary in (installed, unpacked):
        if version(binary) >= WANTED:
            return binary
    for mirror in _mirrors():
        if _download(folder, _private_apt(folder, mirror)):
            return unpacked
    if version(installed) or (_download(folder, []) and version(unpacked)):
        return installed if version(installed) else unpacked
    raise SystemExit("no restic was found and none could be fetched; install it (apt-get install restic)")


@dataclass(slots=True, kw_only=True)
class Restic:
    """restic on one folder or file, its repository and cache in a scratch folder."""

    binary: Path
    scratch: Path
    source: Path

    def environment(self) -> dict[str, str]:
        return {
            "RESTIC_PASSWORD": "benchmark",
            "RESTIC_REPOSITORY": str(self.scratch / "repository"),
            "RESTIC_CACHE_DIR": str(self.scratch / "cache"),
            "HOME": os.environ.get("HOME", "/nonexistent"),
        }

    def begin(self) -> None:
        """Make an empty repository, not timed."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        run([str(self.binary), "init"], env=self.environment())

    def snapshot(self) -> Run:
        """Take a snapshot."""
        return run(
            [str(self.binary), "backup", "--quiet", self.source.name],
            env=self.environment(),
            cwd=self.source.parent,
        )

    def restore(self, to: Path) -> Run:
        """Restore the newest snapshot into a folder."""
        return run(
            [str(self.binary), "restore", "latest", "--quiet", "--target", str(to)], env=self.environment()
        )

    def stored(self) -> int:
        """Return the bytes of the repository."""
        return size_of(self.scratch / "repository")
