"""Progress in a notebook or a terminal: one line on stderr, drawn over itself; nothing where nobody is looking."""

import sys
import time
from typing import TextIO

_WIDTH = 24
_INTERVAL_S = 0.2


class ProgressLine:
    """One bar at a time; ``end`` leaves the last one standing."""

    def __init__(self, stderr: TextIO, *, is_shown: bool) -> None:
        self._stderr, self._is_shown = stderr, is_shown
        self._stage, self._began_s, self._drawn_s, self._width = "", 0.0, 0.0, 0

    def update(self, stage: str, done: int, total: int, detail: str = "") -> None:
        """The first and last state of a stage are always drawn, the others a few times a second."""
        now_s = time.monotonic()
        if stage != self._stage:
            self.end()
            self._stage, self._began_s, self._drawn_s = stage, now_s, 0.0
        if not self._is_shown or (done < total and now_s - self._drawn_s < _INTERVAL_S):
            return
        self._drawn_s = now_s
        share = done / total if total else 1.0
        bar = "#" * round(share * _WIDTH)
        left = _left(share, now_s - self._began_s)
        line = f"{stage:<10} [{bar:<{_WIDTH}}] {done:,}/{total:,}  {left}  {detail}".rstrip()
        self._stderr.write(f"\r{line:<{self._width}}")
        self._stderr.flush()
        self._width = len(line)

    def say(self, message: str) -> None:
        """One line to the user, whether progress is shown or not."""
        self.end()
        self._stderr.write(f"{message}\n")
        self._stderr.flush()

    def end(self) -> None:
        """Goes on in a new line."""
        if self._width:
            self._stderr.write("\n")
            self._stderr.flush()
        self._width = 0


def progress_line(is_shown: bool | None) -> ProgressLine:
    """On stderr; None shows it where somebody looks: on a terminal, and in a notebook."""
    if is_shown is None:
        is_shown = sys.stderr.isatty() or "ipykernel" in sys.modules
    return ProgressLine(sys.stderr, is_shown=is_shown)


def _left(share: float, elapsed_s: float) -> str:
    left_s = round(elapsed_s * (1 - share) / share) if share else 0
    return f"{left_s // 60}:{left_s % 60:02} left" if 0 < share < 1 else ""
