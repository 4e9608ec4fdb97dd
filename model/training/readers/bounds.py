"""How much of a file is read at all, and who may break it off."""

from collections.abc import Callable
from dataclasses import dataclass

MIB = 1024**2


def _go_on() -> None:
    """Nobody breaks off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits that hold while a file is read, before anything is made of what they bound.

    Attributes:
        max_bytes: Of the whole file, decompressed.
        max_line_bytes: Of one line, one table row with all its lines, or one JSON object.
        max_lines: Lines of a file, or rows where a line may hold many.
        bytes_setting: How the user sets ``max_bytes``, for messages; empty where it is fixed.
        line_setting: The same of ``max_line_bytes``.
        ask: Called every thousand lines; raises where reading is to end.
    """

    max_bytes: int = 1024 * MIB
    max_line_bytes: int = 64 * MIB
    max_lines: int = 50_000_000
    bytes_setting: str = ""
    line_setting: str = ""
    ask: Callable[[], None] = _go_on

    def too_large(self) -> str:
        """What is wrong with a file of more than ``max_bytes``, and what to do."""
        return f"holds more than {self.max_bytes:,} bytes{_named(self.bytes_setting)}: split it"

    def too_long(self) -> str:
        """What is wrong with a row of more than ``max_line_bytes``, and what to do."""
        return (
            f"is longer than {self.max_line_bytes:,} bytes{_named(self.line_setting)}: one text is one line, break it "
            "into several"
        )

    def too_many(self) -> str:
        """What is wrong with a file of more than ``max_lines``, and what to do."""
        return f"has more than {self.max_lines:,} lines: split it"


def _named(setting: str) -> str:
    return f" ({setting})" if setting else ""


ORDINARY = Bounds()
