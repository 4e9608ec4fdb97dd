"""What a running process takes of the machine, as Linux counts it."""

import os
from pathlib import Path

MIB = 1024**2


class ProcessUse:
    """Of one process, while it runs."""

    def __init__(self, pid: int) -> None:
        self.pid, self._place = pid, Path(f"/proc/{pid}")

    def resident_bytes(self) -> int:
        return self._status("VmRSS") * 1024

    def peak_bytes(self) -> int:
        """Most that was resident since ``forget_peak``."""
        return self._status("VmHWM") * 1024

    def forget_peak(self) -> int:
        """Begins a new peak; bytes that are resident now."""
        (self._place / "clear_refs").write_text("5", encoding="ascii")
        return self.resident_bytes()

    def num_threads(self) -> int:
        return self._status("Threads")

    def num_descriptors(self) -> int:
        return len(os.listdir(self._place / "fd"))

    def _status(self, name: str) -> int:
        lines = (self._place / "status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
