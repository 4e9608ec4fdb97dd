"""Where a set can be: what an address means, and the files there, opened one by one and read piece by piece.

    hf://owner/name[@revision]   a repository of the Hugging Face Hub
    s3://bucket/folder, gs://, az://   an object store, by the package of fsspec for it
    file:///folder   a directory
    https://host/folder   a web server

Each may also end in .tar.gz: a whole set, as ``adavae adapters export`` and ``GET /adapters/{name}/archive`` make it.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from adavae.model.errors import AdapterSetNotFound, AdaVAEError, shown
from adavae.service.sharing.errors import SharingError
from adavae.service.sharing.pin import Pin
from adavae.service.shown_address import shown_address

_PIECE_BYTES = 1024**2
_TIMEOUT_S = 30.0
_FILESYSTEMS = {
    **{"hf": "huggingface_hub", "s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "abfs": "adlfs"},
    "file": "fsspec",
}
_ARCHIVES = (".tar.gz", ".tgz", "/archive")
KEPT_CARD = "set-card.md"
"""On the Hub, where everybody may edit README.md: the card as the set's manifest knows it."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An open file.

    Attributes:
        num_bytes: That it will have, where the place says so.
        pieces: What it holds.
    """

    num_bytes: int | None
    pieces: Iterator[bytes]


class Place(Protocol):
    """Where one set is."""

    @property
    def address(self) -> str:
        """For people, without what is secret in it."""
        ...

    @property
    def is_archive(self) -> bool: ...

    def opened(self, name: str) -> AbstractContextManager[RemoteFile]:
        """A file of the set; of an archive, which is one file, ``name`` is empty.

        Raises:
            AdapterSetNotFound: It is not there.
            SharingError: The place cannot be read.
        """
        ...

    def has(self, name: str) -> bool:
        """Whether there is such a file beside those of a set; raises SharingError."""
        ...


@dataclass(frozen=True, slots=True)
class FilesystemPlace:
    """A directory or an archive in something that fsspec makes a file system of."""

    address: str
    scheme: str
    path: str
    filesystem: Any = field(repr=False)

    @property
    def is_archive(self) -> bool:
        return self.path.endswith(_ARCHIVES)

    def path_of(self, name: str) -> str:
        return f"{self.path}/{name}" if name else self.path

    @contextmanager
    def opened(self, name: str) -> Iterator[RemoteFile]:
        where = f"{self.address}/{name}" if name else self.address
        with told(where):
            about = self.filesystem.info(self.path_of(name))
            if about["type"] != "file":
                raise SharingError(f"{where} is a {about['type']}, and no file: name a set's directory or its .tar.gz")
            options = {"block_size": 0} if self.scheme == "hf" else {}  # as one stream
            with self.filesystem.open(self.path_of(name), "rb", **options) as file:
                yield RemoteFile(about.get("size"), iter(lambda: file.read(_PIECE_BYTES), b""))

    def has(self, name: str) -> bool:
        with told(self.address):
            return self.scheme == "hf" and bool(self.filesystem.exists(self.path_of(name)))


@dataclass(frozen=True, slots=True)
class WebPlace:
    """A directory or an archive on a web server; what stands behind ``?`` is sent and never shown.

    Attributes:
        url: Its address.
        is_pinned: Whether the set's digest is known, so that nobody on the way can send another.
    """

    url: str
    is_pinned: bool = False

    @property
    def address(self) -> str:
        return shown_address(self.url)

    @property
    def is_archive(self) -> bool:
        return urlsplit(self.url).path.endswith(_ARCHIVES)

    @contextmanager
    def opened(self, name: str) -> Iterator[RemoteFile]:
        import httpx2

        parts = urlsplit(self.url)
        url = parts._replace(path=f"{parts.path.rstrip('/')}/{name}").geturl() if name else self.url
        where = f"{self.address}/{name}" if name else self.address
        with (
            told(where),
            httpx2.Client(follow_redirects=True, timeout=_TIMEOUT_S) as client,
            client.stream("GET", url, headers={"accept-encoding": "identity"}) as reply,
        ):
            if any(self._is_open(hop.url.scheme, hop.url.host) for hop in (*reply.history, reply)):
                raise SharingError(f"{where} leads to an address without TLS: name the last one, or ask who keeps it")
            if reply.status_code in (404, 410):
                raise FileNotFoundError(where)
            if reply.status_code != 200:
                raise SharingError(f"{where} answers {reply.status_code}: see whether it can be read without a log-in")
            declared = reply.headers.get("content-length", "")
            yield RemoteFile(int(declared) if declared.isdecimal() else None, reply.iter_raw(_PIECE_BYTES))

    def _is_open(self, scheme: str, host: str) -> bool:
        """Whether a step on the way lets others send another set."""
        return scheme != "https" and (self.url.startswith("https:") or not (self.is_pinned or _is_here(host)))

    def has(self, name: str) -> bool:
        del name
        return False


def place_of(address: str) -> tuple[Place, Pin]:
    """The place that an address names, and which set it says is there: what follows its ``#``.

    Raises:
        SharingError: No such kind of place, or its package is missing.
    """
    where, _, pinned = address.partition("#")
    pin = Pin.of(pinned) if pinned else Pin()
    scheme, has_scheme, _ = where.partition("://")
    if scheme == "https" or scheme == "http":
        with told(shown(shown_address(where))):
            host = urlsplit(where).hostname or ""
        if scheme == "http" and pin.digest is None and not _is_here(host):
            raise SharingError(
                f"{shown(shown_address(where))} is not encrypted, so that anybody on the way may send another set: use "
                "https, or say which set it is (--digest)"
            )
        return WebPlace(where, pin.digest is not None), pin
    if not has_scheme and Path(where).exists():
        return filesystem_place(f"file://{Path(where).absolute()}"), pin
    return filesystem_place(where), pin


def filesystem_place(address: str) -> FilesystemPlace:
    """A place that can be written too; raises SharingError where there is no such kind, or no package for it."""
    scheme, has_scheme, path = address.partition("://")
    if not has_scheme or scheme not in _FILESYSTEMS or not path.strip("/"):
        raise SharingError(
            f"{shown(shown_address(address))} is no address of a set: write hf://owner/name, https://host/folder, "
            "s3://bucket/folder or file:///folder, the last three also to a .tar.gz"
        )
    import fsspec

    try:
        with told(shown_address(address)):
            kind = fsspec.get_filesystem_class(scheme)
            filesystem = kind(skip_instance_cache=True)
            stripped = kind._strip_protocol(address)
    except ImportError as exc:
        raise SharingError(
            f"{scheme}:// needs a package that is not installed ({exc}): pip install {_FILESYSTEMS[scheme]}, which "
            "adavae[hub] brings for s3://"
        ) from exc
    return FilesystemPlace(shown_address(address).rstrip("/"), scheme, str(stripped).rstrip("/"), filesystem)


@contextmanager
def told(where: str) -> Iterator[None]:
    """What a library says of a place that fails, in one line; each file system has exceptions of its own.

    Raises:
        AdapterSetNotFound: For FileNotFoundError.
        SharingError: For everything else but this project's own errors and missing packages.
    """
    try:
        yield
    except (AdaVAEError, ImportError):
        raise
    except FileNotFoundError as exc:
        detail = str(exc).splitlines()[0] if str(exc) else ""
        more = f" ({detail})" if detail and detail != where else ""
        raise AdapterSetNotFound(f"there is no {where}{more}: see whether the address is right") from exc
    except Exception as exc:
        reason = " ".join(str(exc).split())[:300] or type(exc).__name__
        raise SharingError(f"{where} cannot be used ({reason}): see whether it is right, there, and yours") from exc


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
