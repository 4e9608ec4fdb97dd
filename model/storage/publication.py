"""The order in which versions of adapter sets were published: numbers that a store gives out, each once.

Which version a name means is decided by them and by no clock: clocks are set back and forth, differ between machines,
and the date in a file is what somebody wrote there. A number is claimed by making a lock file of that name, which only
one publisher can; nobody waits for another, so whoever is frozen in between holds up nobody.
"""

import os
import re
from pathlib import Path

from adavae.model.errors import WeightsCorrupted
from adavae.model.storage.regular_file import read_bounded

PUBLICATION = "publication"
"""In the directory of a version: its number. It belongs to the store, not to the set, and is in no archive."""

_CLAIMS = ".publications"
_KEPT_CLAIMS = 64
_NUMBER = re.compile(r"[1-9][0-9]{0,14}")
_MAX_BYTES = 20


def claim_number(root: Path, name: str) -> int:
    """A number that nobody else under ``root`` has or will have, larger than that of any version of ``name``."""
    claims = root / _CLAIMS
    claims.mkdir(parents=True, exist_ok=True)
    published = [number_of(path) for path in (root / name).glob("*")]  # also of those that were copied there
    number = 1 + max([*_given_out(claims), *published], default=0)
    while True:
        if _is_claimed(claims / str(number)):
            given = _given_out(claims)
            if number >= max(given) - _KEPT_CLAIMS:
                break
            number = max(given)  # it was slow: the number was free because it had been given and forgotten
        number += 1
    for earlier in given:
        if earlier < number - _KEPT_CLAIMS:
            (claims / str(earlier)).unlink(missing_ok=True)
    return number


def number_of(path: Path) -> int:
    """The number of the version at ``path``; 0 for one from before there were numbers, or that has none to be read."""
    if not os.path.lexists(path / PUBLICATION):
        return 0
    try:
        content = read_bounded(path / PUBLICATION, _MAX_BYTES)
    except WeightsCorrupted:
        return 0
    return _number(content.decode("ascii", "replace").strip())


def spelt(number: int) -> bytes:
    """The content of its file."""
    return f"{number}\n".encode()


def _given_out(claims: Path) -> list[int]:
    """The numbers that were given out last."""
    return [number for entry in os.listdir(claims) if (number := _number(entry))]


def _is_claimed(path: Path) -> bool:
    """Whether the file is there now, and was not before."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        return False
    return True


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
