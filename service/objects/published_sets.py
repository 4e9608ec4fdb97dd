"""The files of adapter sets in an object store, and the index that publishes them; without torch, for workers.

sets.json                           which there are: ``set_index``
adapters/<name>/<version>/<file>    their files, which never change
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from adavae.model.errors import WeightsCorrupted
from adavae.model.storage.manifest import MANIFEST, MAX_TEXT_BYTES, Manifest, parse_manifest
from adavae.service.objects.object_store import NotOurs, ObjectStore
from adavae.service.objects.set_index import SetIndex, SetKey, Sets

_FOLDER = "adapters"


def key_of(name: str, version: str, file: str) -> str:
    """Where a file of a set is in the store."""
    return f"{_FOLDER}/{name}/{version}/{file}"


class PublishedSets:
    """The sets of one store; used from any thread. Every method raises StoreError where the store cannot be used."""

    def __init__(self, store: ObjectStore) -> None:
        self._store, self._index = store, SetIndex(store)

    def current(self) -> Sets:
        """Those that are published."""
        return self._index.current()

    def send_files(self, source: Path, manifest: Manifest) -> None:
        """Sends the files of the checked set in a directory, the manifest last; nobody sees them yet."""
        for name in (*manifest.files, MANIFEST):
            self._store.send(key_of(manifest.name, manifest.version, name), source / name)

    def publish(self, key: SetKey, owner: str | None = None, checking: Callable[[Sets], None] = lambda _: None) -> None:
        """Publishes a set whose files are there, unless it is; arguments and errors as for ``SetIndex.add``."""
        self._index.add(key, owner, checking)

    def remove(self, key: SetKey, files: Sequence[str]) -> None:
        """From the index first: nobody ever sees half of a set. Raises AdapterSetNotFound, and as ``SetIndex.add``.

        Where somebody has brought the same version in by then its files are the published ones, and stay. Whoever
        publishes it after that look, and before the files go, has to bring it in again: it is refused as not whole.
        """
        self._index.remove(key)
        if key not in self.current().numbers:
            self._store.delete([key_of(*key, name) for name in files])

    def read_manifest(self, key: SetKey) -> bytes:
        """The bytes of a manifest; raises FileNotFoundError, and NotOurs where they are too many."""
        return self._store.read_file(key_of(*key, MANIFEST), MAX_TEXT_BYTES)

    def manifest(self, key: SetKey) -> Manifest | None:
        """Of a set whose files are there, published or not; None where there is none that is whole."""
        try:
            return parse_manifest(key_of(*key, MANIFEST), self.read_manifest(key))
        except (FileNotFoundError, NotOurs, WeightsCorrupted):
            return None
