"""Whose adapter set a name is: the key that published under it first, for as long as one of its versions is installed.

    <root>/<name>.json   {"owner": "alice", "versions": ["0123456789ab"]}
    <root>/<name>.lock   held while a set of that name is put in place

In an object store both are the index's: ``service.objects.set_index``.

Anybody may use every set. Publishing under a name that others rely on would change what they are answered: bundled
names, the default, and what belongs to another key take a key with the scope ``admin``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from adavae.model.storage.atomic import write_atomically
from adavae.service.jobs.records.decoding import MAX_RECORD_BYTES, decoded
from adavae.service.jobs.records.job import STRICT
from adavae.service.jobs.records.volume_file import NotReadable, read_regular
from adavae.service.jobs.records.volume_lock import locked
from adavae.service.objects.published_sets import PublishedSets
from adavae.service.settings import Settings


class SetOwners:
    """Reads and writes owners; every method waits for the disk. Names are checked before they come here."""

    def __init__(self, settings: Settings) -> None:
        self._root, self._adapters, self._bundled = (
            settings.set_owners,
            settings.own_adapters,
            settings.bundled_adapters,
        )
        self._default = settings.default_adapter.partition("@")[0]

    def owner_of(self, name: str) -> str | None:
        """None where the set is nobody's: not installed, or put there by somebody on the machine itself."""
        record = self._record(name)
        return record.owner if record is not None else None

    def objection(self, name: str, owner: str | None) -> str | None:
        """Why it takes ``admin`` to publish under this name; None where ``owner`` may."""
        if (self._bundled / name).is_dir():
            why = f"{name!r} is a set that comes with adavae"
        elif name == self._default:
            why = f"{name!r} is the default set of this service"
        elif self._installed(name) and (owner is None or self.owner_of(name) != owner):
            why = f"the set {name!r} is not this key's"
        else:
            return None
        return f"{why}, and whoever asks for it would get another one: choose another suffix, or use a key with admin"

    @contextmanager
    def publishing(self, name: str, version: str, owner: str | None) -> Iterator[None]:
        """Keeps other publications under this name out, and notes whose it is if it was nobody's.

        Raises:
            JobBusy: Another one takes too long.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with locked(self._root / f"{name}.lock"):
            record = self._record(name)
            if owner is not None and (record.owner == owner if record is not None else not self._installed(name)):
                known = record.versions if record is not None else []
                content = {"owner": owner, "versions": [*(each for each in known if each != version), version]}
                write_atomically(self._root / f"{name}.json", json.dumps(content).encode())
            yield

    def _record(self, name: str) -> "_OwnerRecord | None":
        """Who owns a set, by those of its versions that are installed; None where there is none of these."""
        try:
            record = decoded(_OWNED, read_regular(self._root / f"{name}.json", MAX_RECORD_BYTES))
        except (OSError, NotReadable):
            return None
        installed = self._installed(name)
        versions = [version for version in record.versions if version in installed]
        return replace(record, versions=versions) if versions else None

    def _installed(self, name: str) -> set[str]:
        """Versions that are there, in whatever state."""
        try:
            return {path.name for path in (self._adapters / name).iterdir() if path.is_dir()}
        except (FileNotFoundError, NotADirectoryError):
            return set()


class SharedOwners(SetOwners):
    """Owners of the sets in an object store; its methods raise StoreError where that cannot be used."""

    def __init__(self, settings: Settings, sets: PublishedSets) -> None:
        super().__init__(settings)
        self._sets = sets

    def owner_of(self, name: str) -> str | None:
        return self._sets.current().owner_of(name)

    @contextmanager
    def publishing(self, name: str, version: str, owner: str | None) -> Iterator[None]:
        """Keeps nobody out: the change of the index does, and notes whose the name is."""
        del name, version, owner
        yield

    def _installed(self, name: str) -> set[str]:
        return self._sets.current().of_name(name)


@dataclass(frozen=True, slots=True)
class _OwnerRecord:
    """``versions`` are those that the owner published."""

    owner: str
    versions: list[str]

    __pydantic_config__ = STRICT


_OWNED = TypeAdapter(_OwnerRecord)
