"""A set out of the store to another place: every byte is verified first, the manifest comes last.

On the Hub the card that people see begins with metadata, also for a set whose own card has none; the card that the
manifest knows stands beside it.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adavae.model.errors import AdapterSetExists, WeightsCorrupted
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.atomic import write_atomically, write_chunks_atomically
from adavae.model.storage.card_metadata import UNKNOWN_LICENSE, Origin, front_matter, without_front_matter
from adavae.model.storage.manifest import CARD, MANIFEST, Manifest, parse_manifest
from adavae.service.sharing.errors import SharingError
from adavae.service.sharing.places import KEPT_CARD, FilesystemPlace, filesystem_place, told

_PIECE_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class Pushed:
    """What was put where.

    Attributes:
        reference: ``name@version``.
        address: Of the place.
        digest: By which it can be asked for.
    """

    reference: str
    address: str
    digest: str

    @property
    def pinned_address(self) -> str:
        """What ``pull`` is given to get exactly this."""
        return f"{self.address}#{self.reference}#{self.digest}"


def push(
    reference: str, address: str, store: AdapterStore, *, origin: Origin | None = None, is_private: bool = False
) -> Pushed:
    """Puts a verified set where ``address`` says.

    Args:
        reference: ``name`` or ``name@version``.
        address: As ``places`` describes them, but for web servers.
        store: Where the set is.
        origin: What only its maker knows, for the card on the Hub; what its card says already if left out.
        is_private: Whether a repository that is made on the Hub is for its owner alone.

    Raises:
        AdapterSetNotFound: No such set.
        WeightsCorrupted: It is damaged.
        AdapterSetExists: Another set is there, or a file of something else; on the Hub, a set of another name.
        SharingError: The place cannot be used.
    """
    where = address.partition("#")[0]
    if where.startswith(("http://", "https://")):
        raise SharingError(
            f"{where} is a web server, which is not written to: push to hf://, s3:// or file://, or install the set on "
            "a service with POST /adapters"
        )
    if "://" not in where:
        where = f"file://{Path(where).absolute()}"
    place = filesystem_place(where)
    entry = store.resolve(reference)
    files = {path.name: path for path in store.verified_files(entry.reference).values()}
    manifest = entry.manifest
    assert manifest is not None  # resolve raised otherwise
    if place.scheme == "hf":
        _to_hub(place, manifest, files, origin, is_private=is_private)
    elif place.is_archive:
        _write(place, "", store.archive(entry.reference))
    else:
        _to_directory(place, manifest, files)
    return Pushed(entry.reference, place.address, manifest.digest)


def card_for_hub(card: str, manifest: Manifest, origin: Origin | None) -> str:
    """The card that begins with metadata: its own, or what the manifest and ``origin`` say."""
    body = without_front_matter(card)
    if origin is None and body != card:
        return card
    preset = str(manifest.training.get("preset", ""))
    said = origin or Origin()
    return front_matter(preset, manifest.metrics, said if body == card else _merged(card, said)) + body


def _merged(card: str, origin: Origin) -> Origin:
    """``origin``, and from the card what it leaves out."""
    from huggingface_hub import ModelCard

    data: Any = ModelCard(card).data
    return replace(
        origin,
        license=(data.license if origin.license == UNKNOWN_LICENSE and data.license else origin.license),
        base_model=origin.base_model or data.base_model,
        datasets=origin.datasets or tuple(data.datasets or ()),
    )


def _to_hub(
    place: FilesystemPlace, manifest: Manifest, files: dict[str, Path], origin: Origin | None, *, is_private: bool
) -> None:
    from huggingface_hub import CommitOperationAdd, HfApi

    repository, _, revision = place.path.partition("@")
    if repository.count("/") != 1:
        raise SharingError(f"{place.address} is no repository: write hf://owner/name, also with @branch")
    with told(place.address):
        _check_free(place, manifest, files, is_versioned=True)
    card = files.pop(CARD)
    readme = card_for_hub(card.read_text(encoding="utf-8"), manifest, origin)
    with told(place.address):
        api = HfApi(library_name="adavae")
        api.create_repo(repository, private=is_private, exist_ok=True)
        api.create_commit(
            repository,
            [
                *(CommitOperationAdd(name, path) for name, path in files.items()),
                CommitOperationAdd(KEPT_CARD, card),
                CommitOperationAdd(CARD, readme.encode()),
            ],
            commit_message=f"{manifest.reference} (sha256 {manifest.digest})",
            revision=revision or None,
        )


def _to_directory(place: FilesystemPlace, manifest: Manifest, files: dict[str, Path]) -> None:
    with told(place.address):
        _check_free(place, manifest, files)
        _make_directory(place, place.path)
        for name in sorted(files, key=lambda name: name == MANIFEST):
            _put(place, files[name], name)


def _check_free(
    place: FilesystemPlace, manifest: Manifest, files: dict[str, Path], *, is_versioned: bool = False
) -> None:
    """Raises AdapterSetExists where a file of something else would be replaced.

    Args:
        place: A directory.
        manifest: Of the set that is to be there.
        files: Its files, by name.
        is_versioned: Whether the place keeps what it had before: then the set may replace others of its name.
    """
    if _has_set(place, manifest, is_versioned=is_versioned):
        return
    for name, path in files.items():
        if _is_other(place, name, path):
            raise AdapterSetExists(
                f"{place.address} holds a {name} that is not this set's: name a place of the set's own, or delete it "
                "first"
            )


def _is_other(place: FilesystemPlace, name: str, path: Path) -> bool:
    """Whether another file has the name there; what has another size is not read."""
    there = place.path_of(name)
    if not place.filesystem.exists(there):
        return False
    if place.filesystem.info(there)["size"] != path.stat().st_size:
        return True
    return bool(place.filesystem.cat_file(there) != path.read_bytes())


def _has_set(place: FilesystemPlace, manifest: Manifest, *, is_versioned: bool) -> bool:
    there = place.path_of(MANIFEST)
    if not place.filesystem.exists(there):
        return False
    content = place.filesystem.cat_file(there)
    if content == manifest.to_bytes():
        return True
    with suppress(WeightsCorrupted):  # somebody else's file of this name
        if is_versioned and parse_manifest(f"{place.address}/{MANIFEST}", content).name == manifest.name:
            return True
    raise AdapterSetExists(f"{place.address} holds another adapter set: name another place, or delete it first")


def _put(place: FilesystemPlace, source: Path, name: str) -> None:
    """A file is there whole or not at all."""
    if place.scheme == "file":
        with source.open("rb") as file:
            write_chunks_atomically(Path(place.path_of(name)), iter(lambda: file.read(_PIECE_BYTES), b""))
    else:
        place.filesystem.put_file(str(source), place.path_of(name))


def _make_directory(place: FilesystemPlace, path: str) -> None:
    """An object store has none, and would make a bucket for a misspelt one."""
    if place.scheme == "file":
        place.filesystem.makedirs(path, exist_ok=True)


def _write(place: FilesystemPlace, name: str, content: bytes) -> None:
    with told(place.address):
        if place.filesystem.exists(place.path_of(name)):
            raise AdapterSetExists(f"{place.address} is there already: name another file, or delete it first")
        _make_directory(place, place.filesystem._parent(place.path))
        if place.scheme == "file":
            write_atomically(Path(place.path_of(name)), content)
        else:
            place.filesystem.pipe_file(place.path_of(name), content)
