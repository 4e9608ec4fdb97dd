"""What is finished, as lines of a file that any machine goes on from: a kill costs what was under way, and no more."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from adavae.model.errors import ConfigError

Kept = TypeVar("Kept")


def open_for_lines(file: Path) -> None:
    """Makes the file and its folder, before hours of work that could not be kept; raises ConfigError if it cannot."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab"):
            pass
    except OSError as exc:
        rule = f"cannot be written ({exc.strerror}): name another directory"
        raise ConfigError("output", str(file), rule) from exc


def kept_in(file: Path, of_line: Callable[[str], Kept]) -> list[Kept]:
    """Every whole line of a file that need not exist; a half-written last line is left out.

    Raises:
        ConfigError: It holds something else: ``of_line`` raises ValueError or TypeError.
    """
    if not file.is_file():
        return []
    lines = file.read_bytes().split(b"\n")[:-1]  # what has no end was cut off by a kill
    kept: list[Kept] = []
    for number, line in enumerate(lines, 1):
        try:
            kept.append(of_line(line.decode()))
        except (ValueError, TypeError):
            rule = f"line {number} is no cell of a table: name another directory"
            raise ConfigError("output", str(file), rule) from None
    return kept


def append_line(file: Path, fields: Mapping[str, Any]) -> None:
    """One line of JSON; the end of a line that was cut off by a kill goes first."""
    content = file.read_bytes() if file.is_file() else b""
    if (whole := content.rfind(b"\n") + 1) < len(content):
        os.truncate(file, whole)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(fields, ensure_ascii=False) + "\n")
