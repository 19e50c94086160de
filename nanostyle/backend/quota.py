"""How many processors a control group grants: a container is told of all of the machine's, and may use fewer."""

from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def granted_processors() -> int | None:
    """The processors that the process's control group and those above it grant, 1 or more; None: no limit is known."""
    found = [share for folder in _folders() if (share := _share(folder)) is not None]
    return max(1, ceil(min(found))) if found else None


def _folders() -> Iterator[Path]:
    """The folders that may tell a limit: of the group, of those above it, and of the old kind of groups."""
    try:
        lines = _OWN.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, kinds, own = line.split(":", 2)
        if kinds in ("", "cpu", "cpu,cpuacct", "cpuacct,cpu"):
            path = PurePosixPath(own.lstrip("/"))
            for part in (path, *path.parents):
                if ".." not in part.parts:  # a group outside of what a container sees
                    yield _ROOT / (kinds and "cpu") / part
    yield from (_ROOT, _ROOT / "cpu")


def _share(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        share = float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max": no limit
        return None
    return share if share > 0 else None  # -1 is none
