"""What may stand on a volume in place of a record: garbage, odd types, things that are no files."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Plant = Callable[[Path], None]
"""Puts something at a path, from which whatever stood there has been taken."""

HUGE_BYTES = 5 * 1024**3


def _bytes(content: bytes) -> Plant:
    return lambda path: path.write_bytes(content) and None  # type: ignore[func-returns-value]


def _loop(path: Path) -> None:
    other = path.with_name(f"{path.name}.loop")
    other.unlink(missing_ok=True)
    other.symlink_to(path.name)
    path.symlink_to(other.name)


def _huge(path: Path) -> None:
    """Sparse: it takes no room on the disk."""
    path.touch()
    os.truncate(path, HUGE_BYTES)


def _forbidden(path: Path) -> None:
    path.mkdir()
    path.chmod(0)


GARBAGE: Mapping[str, bytes] = {
    "nothing": b"",
    "a byte": b"\x00",
    "3,000 brackets": b"[" * 3000,
    "3,000 braces": b'{"a":' * 3000,
    "a million brackets": b"[" * 1_000_000,
    "no UTF-8": b"\xff\xfe\x00\x80",
    "a mark and no more": b"\xef\xbb\xbf",
    "half a record": b'{"id": "',
    "a list": b"[]",
    "a number": b"3",
    "a huge number": b"9" * 10_000,
    "null": b"null",
    "true": b"true",
    "NaN": b"NaN",
    "a string": b'"queued"',
    "half a pair": b'"\\ud800"',
    "an empty object": b"{}",
    "an object of odd keys": b'{"": {}, "\\u0000": [], "__class__": "x"}',
    "a pickle": b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94",
    "XML": b"<?xml version='1.0'?><job/>",
}

PLANTS: Mapping[str, Plant] = {
    **{name: _bytes(content) for name, content in GARBAGE.items()},
    "a pipe": os.mkfifo,
    "a directory": Path.mkdir,
    "a directory that is closed": _forbidden,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "two links in a circle": _loop,
    "a link to nothing": lambda path: path.symlink_to("gone"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a file": lambda path: path.symlink_to("/etc/hostname"),
    "a file of 5 GiB": _huge,
}

_ODD: tuple[Any, ...] = (
    None, True, 3, -1, 2**63, 10**30, 0.5, float("nan"), float("inf"), "", "x", "\ud800", "../x", "x" * 100_000,
    [], [[]], ["x"], {}, {"x": 1}, {"x": {"y": 10**30}}, {"": None},
)  # fmt: skip


def odd_records(record: bytes) -> dict[str, bytes]:
    """A good record with one field of another type or range at a time, without it, and with one more."""
    values = json.loads(record)
    changed = {
        f"{name}={str(odd)[:20]!r}": values | {name: odd} for name in values for odd in _ODD if values[name] != odd
    }
    changed |= {f"without {name}": {key: value for key, value in values.items() if key != name} for name in values}
    changed["one more"] = values | {"more": 1}
    return {name: json.dumps(value).encode() for name, value in changed.items()}


def planted(path: Path, plant: Plant) -> None:
    """Puts it in the place of what is there."""
    path.unlink(missing_ok=True)
    plant(path)
