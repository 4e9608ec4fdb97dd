"""Where an upload is until it is whole: a directory of its own, locked for as long as somebody works on it.

Whoever finds one that nobody has locked may remove it: its process died. No clock is asked.
"""

import secrets
import shutil
import stat
from pathlib import Path

import structlog

from adavae.service.jobs.records.job_errors import JobBusy
from adavae.service.jobs.records.volume_lock import VolumeLock

PREFIX = ".staging-"
_LOCK = "lock"
_log = structlog.get_logger("adavae.files")


class Staging:
    """One upload under way."""

    def __init__(self, root: Path, mark: str = "") -> None:
        """Makes nothing yet; ``mark`` ends its name."""
        self.path = root / f"{PREFIX}{secrets.token_hex(8)}{mark}"
        self._lock: VolumeLock | None = None

    def make(self) -> None:
        """Makes and locks it; the caller keeps ``remove_abandoned`` from running meanwhile."""
        self.path.mkdir()
        self._lock = VolumeLock(self.path / _LOCK, timeout_s=0)

    def end(self) -> None:
        """Removes what was not published; safe at any moment."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()


def remove_abandoned(root: Path) -> None:
    """Removes every one that nobody works on, and files whose deletion broke off; while no new one is made."""
    for path in root.glob(f"{PREFIX}*"):
        if _is_abandoned(path):
            _log.warning("abandoned_upload_removed", directory=path.name)
            shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            return False
        VolumeLock(path / _LOCK, timeout_s=0).release()
    except (JobBusy, OSError):  # what cannot be locked is nobody's to remove
        return False
    return True
