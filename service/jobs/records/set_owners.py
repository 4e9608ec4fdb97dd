"""Whose adapter set a name is: the key that published under it first, for as long as a version of it is installed.

    <root>/<name>.json   {"owner": "alice"}
    <root>/<name>.lock   held while a set of that name is put in place

Anybody may use every set. Publishing under a name that others rely on would change what they are answered: bundled
names, the default, and what belongs to another key take a key with the scope ``admin``.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from adavae.model.storage.atomic import write_atomically
from adavae.service.jobs.records.decoding import decoded_object
from adavae.service.jobs.records.volume_file import NotReadable, read_regular
from adavae.service.jobs.records.volume_lock import locked
from adavae.service.settings import Settings

_MAX_BYTES = 4096


class SetOwners:
    """Reads and writes owners; every method waits for the disk. Names are checked before they come here."""

    def __init__(self, settings: Settings) -> None:
        self._root, self._own, self._bundled = settings.set_owners, settings.own_adapters, settings.bundled_adapters
        self._default = settings.default_adapter.partition("@")[0]

    def owner_of(self, name: str) -> str | None:
        """None where the set is nobody's: not installed, or put there by somebody on the machine itself."""
        if not self._is_installed(name):
            return None
        try:
            owner = decoded_object(read_regular(self._root / f"{name}.json", _MAX_BYTES)).get("owner")
        except (OSError, NotReadable):
            return None
        return owner if isinstance(owner, str) else None

    def objection(self, name: str, owner: str | None) -> str | None:
        """Why it takes ``admin`` to publish under this name; None where ``owner`` may."""
        if (self._bundled / name).is_dir():
            why = f"{name!r} is a set that comes with adavae"
        elif name == self._default:
            why = f"{name!r} is the default set of this service"
        elif self._is_installed(name) and (owner is None or self.owner_of(name) != owner):
            why = f"the set {name!r} is not this key's"
        else:
            return None
        return f"{why}, and whoever asks for it would get another one: choose another suffix, or use a key with admin"

    @contextmanager
    def publishing(self, name: str, owner: str | None) -> Iterator[None]:
        """Keeps other publications under this name out, and notes whose it is if it was nobody's.

        Raises:
            JobBusy: Another one takes too long.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with locked(self._root / f"{name}.lock"):
            if owner is not None and not self._is_installed(name):
                write_atomically(self._root / f"{name}.json", json.dumps({"owner": owner}).encode())
            yield

    def _is_installed(self, name: str) -> bool:
        """Whether a version stands there, in whatever state."""
        try:
            return any(path.is_dir() for path in (self._own / name).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return False
