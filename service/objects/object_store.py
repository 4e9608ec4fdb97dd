"""One place in an object store: few operations, each with a deadline; what it holds is bounded before it is read.

Records are sealed: a line of chance stands before their content. So no two writers ever write the same bytes: an e_tag
never comes back, and whoever repeats a put whose answer was lost finds out whether it was the one that counted.
Files (tensors, uploads, checkpoints) are not sealed, and known by the sha256 that stands in a record.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from adavae.service.objects.errors import ObjectChanged, StoreError, StoreUnusable, first_line, kind_of
from adavae.service.store_address import StoreAddress

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig
    from obstore.store import ObjectStore as Library

_SEAL_BYTES = 33
_PIECE_BYTES = 8 * 1024**2
_PIECE_S = 120.0  # for a piece of a file on a slow line
_CONNECT_S = 5.0
_NUM_RETRIES = 6
_PAGE = 1000

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Found:
    """A record: its content, and the tag under which it may be replaced (see ``_tag_of``)."""

    content: bytes
    tag: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A key, below the place's own prefix, and the size of its object."""

    key: str
    num_bytes: int


class NotOurs(ValueError):
    """An object that is larger than any of ours, or not sealed."""


class ObjectStore:
    """Used from any thread; every method waits for the store, and raises StoreError where it does not do as asked."""

    def __init__(self, address: str, records: "Library", files: "Library") -> None:
        """Connects to nothing yet; ``address`` is for people, both clients lead to the same place."""
        self.address, self._records, self._files = address, records, files

    @classmethod
    def at(cls, address: StoreAddress, *, timeout_s: float, endpoint: str | None = None) -> Self:
        """The place of an address.

        Args:
            address: Of the place.
            timeout_s: For one answer.
            endpoint: Where the environment says that the store is, in place of the usual; decides whether TLS is asked.

        Raises:
            StoreUnusable: There is no library for it, or the environment holds a value that the library refuses.
        """
        is_plain = endpoint is not None and endpoint.startswith("http://")
        records = _opened(address, timeout_s, timeout_s, is_plain=is_plain)
        return cls(str(address), records, _opened(address, _PIECE_S, timeout_s, is_plain=is_plain))

    def read(self, key: str, max_bytes: int) -> Found:
        """A record; raises FileNotFoundError, and NotOurs for what is none of at most ``max_bytes``."""
        found = self.newer(key, None, max_bytes)
        assert found is not None  # only what has a tag can be unchanged
        return found

    def newer(self, key: str, tag: str | None, max_bytes: int) -> Found | None:
        """As ``read``; None where it still is what it was under ``tag``."""
        from obstore.exceptions import NotModifiedError

        try:
            return self._told(lambda: self._read(key, tag, max_bytes))
        except NotModifiedError:
            return None

    def _read(self, key: str, tag: str | None, max_bytes: int) -> Found:
        import obstore

        reply = obstore.get(self._records, key, options={} if tag is None else {"if_none_match": _e_tag(tag)})
        if reply.meta["size"] > max_bytes + _SEAL_BYTES:
            raise NotOurs(f"more than {max_bytes:,} bytes")
        content, found = bytes(reply.bytes()), _tag_of(reply.meta)
        if len(content) < _SEAL_BYTES or content[_SEAL_BYTES - 1 : _SEAL_BYTES] != b"\n" or found is None:
            raise NotOurs("is not sealed")
        return Found(content[_SEAL_BYTES:], found)

    def create(self, key: str, content: bytes) -> str:
        """Writes a record where there is none; raises FileExistsError. Returns its tag."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            return self._put(key, content, "create")
        except (AlreadyExistsError, PreconditionError) as exc:
            raise FileExistsError(f"{key} is there already") from exc

    def replace(self, key: str, content: bytes, tag: str) -> str:
        """Replaces the record that has ``tag``; raises ObjectChanged where it has another by now. Returns the new."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            return self._put(key, content, _unchanged(tag))
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as exc:
            raise ObjectChanged(f"{key} was changed by another process") from exc

    def write(self, key: str, content: bytes) -> None:
        """Writes a record that has one writer."""
        self._put(key, content, "overwrite")

    def _put(self, key: str, content: bytes, mode: Any) -> str:
        """Raises the library's own errors where a condition does not hold, however often the put was repeated."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        seal = secrets.token_hex((_SEAL_BYTES - 1) // 2).encode() + b"\n"

        def put() -> str | None:
            return _tag_of(obstore.put(self._records, key, seal + content, mode=mode))

        try:
            try:
                tag = self._told(put)
            except StoreError as exc:
                if exc.kind != "unreachable":
                    raise
                tag = self._told(put)  # the library repeats no put after a timeout, which the seal makes harmless
        except (AlreadyExistsError, PreconditionError):
            if (tag := self._tag_under(key, seal)) is None:
                raise
        if tag is None:
            raise StoreError("failed", self.address, "it gives objects no e_tag")
        return tag

    def _tag_under(self, key: str, seal: bytes) -> str | None:
        """The tag of an object that was written under this seal: by a put whose answer did not come."""
        import obstore

        try:
            reply = self._told(lambda: obstore.get(self._records, key, options={"range": (0, _SEAL_BYTES)}))
            return _tag_of(reply.meta) if bytes(reply.bytes()) == seal else None
        except (FileNotFoundError, StoreError):
            return None

    def stamp(self, key: str) -> str:
        """Changes whenever the object is written; raises FileNotFoundError."""
        import obstore

        return str(self._told(lambda: obstore.head(self._records, key)["e_tag"]))

    def names(self, folder: str) -> list[str]:
        """Of what lies directly below a folder, objects and folders, in order."""
        import obstore

        found = self._told(lambda: obstore.list_with_delimiter(self._records, folder))
        paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        return sorted({path.rstrip("/").rpartition("/")[2] for path in paths})

    def keys(self, folder: str, most: int) -> list[Listed]:
        """Of the objects below a folder, in order, no more than ``most``."""
        import obstore

        def listed() -> list[Listed]:
            pages = obstore.list(self._records, folder, chunk_size=min(most, _PAGE))
            found = islice((each for page in pages for each in page), most)
            return [Listed(each["path"], each["size"]) for each in found]

        return sorted(self._told(listed), key=lambda each: each.key)

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes objects; those that are not there count as deleted."""
        import obstore

        for position in range(0, len(keys), _PAGE):
            some = list(keys[position : position + _PAGE])
            try:
                self._told(partial(obstore.delete, self._records, some))
            except FileNotFoundError:  # some stores say so, and may have left the others
                self._delete_each(some)

    def _delete_each(self, keys: Sequence[str]) -> None:
        import obstore

        for key in keys:
            with suppress(FileNotFoundError):
                self._told(partial(obstore.delete, self._records, key))

    def send(self, key: str, path: Path) -> None:
        """Writes a file, in parts where it is large; it is there whole or not at all."""
        import obstore

        def sent() -> None:
            with path.open("rb") as file:
                obstore.put(self._files, key, file, chunk_size=_PIECE_BYTES, max_concurrency=4)

        self._told(sent)

    def read_file(self, key: str, max_bytes: int) -> bytes:
        """A small file as it is; raises FileNotFoundError, and NotOurs where it is larger than ``max_bytes``."""
        import obstore

        def content() -> bytes:
            reply = obstore.get(self._records, key)
            if reply.meta["size"] > max_bytes:
                raise NotOurs(f"has {reply.meta['size']:,} bytes, at most {max_bytes:,} are read")
            return bytes(reply.bytes())

        return self._told(content)

    def fetch(self, key: str, num_bytes: int) -> Iterator[bytes]:
        """A file of ``num_bytes``, piece by piece; raises FileNotFoundError, and NotOurs where it has another size."""
        import obstore

        size = self._told(lambda: obstore.head(self._files, key)["size"])
        if size != num_bytes:
            raise NotOurs(f"has {size:,} bytes, not {num_bytes:,}")
        for start in range(0, num_bytes, _PIECE_BYTES):
            end = min(start + _PIECE_BYTES, num_bytes)
            piece = bytes(self._told(partial(obstore.get_range, self._files, key, start=start, end=end)))
            if len(piece) != end - start:
                raise NotOurs("ends too early")
            yield piece

    def _told(self, work: Callable[[], Result]) -> Result:
        """What ``work`` gives; what the library raises becomes StoreError, but for the conditions that callers name."""
        from obstore.exceptions import AlreadyExistsError, BaseError, NotModifiedError, PreconditionError

        try:
            return work()
        except (AlreadyExistsError, NotModifiedError, PreconditionError) as exc:
            if kind_of(exc) == "absent":
                raise StoreError("absent", self.address, first_line(exc)) from exc
            raise
        except FileNotFoundError as exc:
            if kind_of(exc) == "absent":
                raise StoreError("absent", self.address, first_line(exc)) from exc
            raise FileNotFoundError(first_line(exc)) from exc
        except StoreError:
            raise
        except (BaseError, OSError) as exc:
            raise StoreError(kind_of(exc), self.address, first_line(exc)) from exc


def _tag_of(said: Mapping[str, Any]) -> str | None:
    """What the library says of an object, as one word: its e_tag, and behind a line feed its version if it has one.

    Amazon and Azure compare the e_tag, Google the version (its generation).
    """
    e_tag, version = said["e_tag"], said.get("version")
    return e_tag if e_tag is None or version is None else f"{e_tag}\n{version}"


def _e_tag(tag: str) -> str:
    return tag.partition("\n")[0]


def _unchanged(tag: str) -> dict[str, str]:
    """The condition that an object still has the tag."""
    e_tag, has_version, version = tag.partition("\n")
    return {"e_tag": e_tag, "version": version} if has_version else {"e_tag": e_tag}


def _opened(address: StoreAddress, request_s: float, timeout_s: float, *, is_plain: bool) -> "Library":
    try:
        from obstore.exceptions import BaseError
        from obstore.store import AzureStore, from_url
    except ImportError as exc:
        raise StoreUnusable(
            f"{address} needs a package that is not installed ({exc}): pip install 'adavae[store]'"
        ) from exc
    client: ClientConfig = {
        "timeout": timedelta(seconds=request_s),
        "connect_timeout": timedelta(seconds=min(_CONNECT_S, timeout_s)),
        "allow_http": is_plain,
    }
    retries: RetryConfig = {
        "max_retries": _NUM_RETRIES,
        "retry_timeout": timedelta(seconds=2 * timeout_s),
        "backoff": {
            "init_backoff": timedelta(milliseconds=50),
            "max_backoff": timedelta(seconds=timeout_s / 4),
            "base": 2,
        },
    }
    try:
        if address.scheme == "az":  # of whose addresses the library takes the first part for the container
            container, _, prefix = address.prefix.partition("/")
            return AzureStore(
                container,
                prefix=prefix or None,
                account_name=address.bucket,
                client_options=client,
                retry_config=retries,
            )
        return from_url(str(address), client_options=client, retry_config=retries)
    except (BaseError, ValueError) as exc:
        raise StoreUnusable(f"{address} cannot be opened ({first_line(exc)}): see the variables of the store") from exc
