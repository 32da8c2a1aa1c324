"""Who runs: enough about a process to tell later whether it still does."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process on a host. `boot_id` and `start` tell a reused number from the same process; "" where unknown."""

    host: str
    pid: int
    boot_id: str
    start: str


def this_process() -> Process:
    """Describe the process that asks."""
    pid = os.getpid()
    return Process(host=platform.node(), pid=pid, boot_id=_boot_id(), start=_start_of(pid))


def may_be_alive(process: Process) -> bool:
    """Whether a process may still run. One on another host may: nothing here can tell, so its run is left alone."""
    if process.host != platform.node():
        return True
    if process.boot_id != _boot_id():
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _start_of(process.pid) == process.start


def _boot_id() -> str:
    return _text(Path("/proc/sys/kernel/random/boot_id")).strip()


def _start_of(pid: int) -> str:
    """Return when a process began, in clock ticks since boot (proc(5), /proc/pid/stat, field 22)."""
    # The name in brackets may hold anything, so fields are counted from the last bracket.
    fields = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
