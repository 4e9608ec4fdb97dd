"""``python -m tests.audit``: whether a pinned version is one that a known advisory is about; offline.

The advisories stand in docker/advisories.json, with the day on which they were collected: what was found out later is
not among them. Where there is a network, ``pip-audit`` knows them all.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

DOCKER = Path(__file__).resolve().parents[1] / "docker"
ADVISORIES = DOCKER / "advisories.json"
PINNED = (
    *(DOCKER / name for name in ("constraints.txt", "requirements.txt", "requirements-build.txt")),
    *sorted((DOCKER / "extras").glob("*.txt")),
)
_OLD_DAYS = 180
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Advisory:
    """Versions from ``first`` to before ``fixed`` have a known fault."""

    id: str
    package: str
    first: Version
    fixed: Version
    about: str

    def is_about(self, package: str, version: Version) -> bool:
        is_named = canonicalize_name(package) == canonicalize_name(self.package)
        return is_named and self.first <= version < self.fixed


@dataclass(frozen=True, slots=True)
class Advisories:
    """All that are known, and since when nobody has looked."""

    as_of: date
    all: tuple[Advisory, ...]

    @classmethod
    def read(cls, path: Path) -> "Advisories":
        """Raises OSError, ValueError, KeyError or TypeError where that is no list of advisories."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(date.fromisoformat(content["as_of"]), tuple(map(_advisory, content["advisories"])))


def pins(path: Path) -> Iterator[tuple[str, Version]]:
    """The packages of a file of constraints or requirements, with their exact versions."""
    for name, version in _PIN.findall(path.read_text(encoding="utf-8")):
        yield name, Version(version)


def faults(advisories: Advisories, files: tuple[Path, ...]) -> list[str]:
    """One line for each pinned version that an advisory is about."""
    return [
        f"{path.name}: {name} {version}: {each.id}, {each.about}; fixed in {each.fixed}"
        for path in files
        for name, version in pins(path)
        for each in advisories.all
        if each.is_about(name, version)
    ]


def main(path: Path = ADVISORIES, files: tuple[Path, ...] = PINNED) -> int:
    """Says what was found; 1 where something was."""
    try:
        advisories = Advisories.read(path)
    except (OSError, ValueError, KeyError, TypeError, InvalidVersion) as exc:
        _say(f"audit: it could not run, {path.name} cannot be read ({type(exc).__name__}: {exc})")
        return 0
    age = (datetime.now(UTC).date() - advisories.as_of).days
    found = faults(advisories, files)
    for line in found:
        _say(f"audit: {line}")
    num_versions = len({pin for each in files for pin in pins(each)})
    _say(
        f"audit: {num_versions} versions, {len(advisories.all)} advisories known on {advisories.as_of}: "
        f"{len(found)} apply{f'; the list is {age} days old: collect it anew' if age > _OLD_DAYS else ''}"
    )
    return 1 if found else 0


def _advisory(row: dict[str, str]) -> Advisory:
    return Advisory(row["id"], row["package"], Version(row.get("from", "0")), Version(row["before"]), row["about"])


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
