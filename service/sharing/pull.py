"""A set from another place into the store: what it says of itself is judged before more than that is fetched.

Sizes come first: a file that would be larger than the manifest says is neither fetched nor read on. What was fetched
goes the way of every import then.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from adavae.model.errors import WeightsCorrupted
from adavae.model.storage.adapter_name import check_name
from adavae.model.storage.adapter_set import Accepting, accept_any
from adavae.model.storage.adapter_store import AdapterStore, TryingFiles, try_nothing
from adavae.model.storage.atomic import staging_directory, write_atomically, write_chunks_atomically
from adavae.model.storage.installed import REFUSALS, InstalledVersion
from adavae.model.storage.manifest import CARD, MANIFEST, MAX_TEXT_BYTES, FileEntry, Manifest, parse_manifest
from adavae.service.sharing.errors import SharingError
from adavae.service.sharing.pin import Pin
from adavae.service.sharing.places import KEPT_CARD, Place, place_of

_ARCHIVE = "set.tar.gz"


def pull(
    address: str,
    store: AdapterStore,
    *,
    max_bytes: int,
    digest: str | None = None,
    name: str | None = None,
    accepting: Accepting = accept_any,
    trying: TryingFiles = try_nothing,
) -> InstalledVersion:
    """Installs the set at ``address``.

    Args:
        address: As ``places`` describes them; behind a ``#`` may stand which set is expected.
        store: Where it is installed.
        max_bytes: Of tensors that a set may have; an archive may have little more.
        digest: Which set is expected, as in ``Pin.of``.
        name: What it shall be called.
        accepting: As for ``AdapterStore.import_set``; asked before anything but the manifest is fetched.
        trying: As for ``AdapterStore.import_set``.

    Raises:
        AdapterSetNotFound: Nothing is there.
        ConfigError: ``name`` is none.
        SharingError: The place cannot be used.
        WeightsCorrupted: It is another set than expected, or damaged.
        AdaVAEError: What ``accepting`` and ``trying`` raise.
    """
    if name is not None:
        check_name(name)
    place, pin = place_of(address if digest is None else _pinned(address, digest))

    def accept(manifest: Manifest) -> None:
        pin.check(manifest)
        accepting(manifest)

    with staging_directory(store.root) as staging:
        if place.is_archive:
            source = staging / _ARCHIVE
            limit = max_bytes + 2 * MAX_TEXT_BYTES
            with place.opened("") as file:
                write_chunks_atomically(source, _bounded(file.pieces, file.num_bytes, limit, place.address))
        else:
            source = staging / "set"
            source.mkdir()
            _fetch_files(place, source, accept)
        try:
            return store.import_set(source, name=name, accepting=accept, trying=trying)
        except REFUSALS as exc:
            if str(source) not in str(exc):
                raise
            kind = type(exc) if isinstance(exc, WeightsCorrupted) else SharingError
            raise kind(str(exc).replace(str(source), place.address)) from exc


def _pinned(address: str, digest: str) -> str:
    """The address with both pins in one."""
    where, _, pinned = address.partition("#")
    pin = (Pin.of(pinned) if pinned else Pin()).and_also(Pin.of(digest))
    return f"{where}#{'#'.join(part for part in (pin.reference, pin.digest) if part)}"


def _fetch_files(place: Place, directory: Path, accepting: Accepting) -> None:
    with place.opened(MANIFEST) as file:
        content = b"".join(_bounded(file.pieces, file.num_bytes, MAX_TEXT_BYTES, f"{place.address}/{MANIFEST}"))
    manifest = parse_manifest(f"{place.address}/{MANIFEST}", content)
    accepting(manifest)
    write_atomically(directory / MANIFEST, content)
    for name, entry in manifest.files.items():
        remote = KEPT_CARD if name == CARD and place.has(KEPT_CARD) else name
        where = f"{place.address}/{remote}"
        with place.opened(remote) as file:
            if file.num_bytes is not None and file.num_bytes != entry.num_bytes:
                raise WeightsCorrupted(_other_size(where, f"{file.num_bytes:,}", entry))
            write_chunks_atomically(directory / name, _checked(file.pieces, entry, where))


def _bounded(pieces: Iterator[bytes], num_bytes: int | None, limit: int, where: str) -> Iterator[bytes]:
    """Everything, as long as it is no more than ``limit``; what says that it is more is not read at all."""
    found = num_bytes or 0
    if found <= limit:
        found = 0
        for piece in pieces:
            found += len(piece)
            if found > limit:
                break
            yield piece
        else:
            return
    raise SharingError(
        f"{where} has {'more than ' if found != num_bytes else ''}{found:,} bytes, at most {limit:,} are fetched: "
        "name a set, or allow larger ones (ADAVAE_BANK_BYTES)"
    )


def _checked(pieces: Iterator[bytes], entry: FileEntry, where: str) -> Iterator[bytes]:
    """Everything, as long as it can still be the file that the manifest means."""
    found, digest = 0, hashlib.sha256()
    for piece in pieces:
        found += len(piece)
        if found > entry.num_bytes:
            raise WeightsCorrupted(_other_size(where, "more", entry))
        digest.update(piece)
        yield piece
    if found != entry.num_bytes:
        raise WeightsCorrupted(_other_size(where, f"{found:,}", entry))
    if digest.hexdigest() != entry.sha256:
        raise WeightsCorrupted(f"{where} is damaged (its sha256 is not the manifest's): push the set again")


def _other_size(where: str, found: str, entry: FileEntry) -> str:
    return (
        f"{where} is damaged (it has {found} bytes, the manifest says {entry.num_bytes:,}): push the set again, whole"
    )
