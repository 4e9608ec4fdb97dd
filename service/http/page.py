"""GET / and the files the playground is made of, from service/page/: whole, compressed, and never another file.

What the page does is in its own files; this one says how a browser gets them, and what they may do there.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi import Header
from starlette.responses import Response

from adavae.service.errors import ServiceError

PAGE_PREFIX = "/page/"
_FOLDER = Path(__file__).resolve().parents[1] / "page"
_INDEX = "index.html"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_STORED_COMPRESSED = ".gz"
_ASKED_AGAIN = "no-cache"  # and mostly answered with 304: after an upgrade the page is never half the old one
_KEPT, _NEVER_CHANGE = "public, max-age=86400", frozenset({".svg", ".woff2"})
_POLICY = "; ".join(
    [
        "default-src 'none'",
        *("script-src 'self'", "style-src 'self'", "font-src 'self'", "img-src 'self'", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    ]
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "vary": "accept-encoding",
}


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it is sent; ``compressed`` is gzip's form of ``content``, None where that is no smaller."""

    content: bytes
    compressed: bytes | None
    media_type: str
    etag: str


async def page(
    if_none_match: Annotated[str, Header()] = "", accept_encoding: Annotated[str, Header()] = ""
) -> Response:
    """The playground."""
    return _reply(_INDEX, if_none_match, accept_encoding)


async def page_file(
    name: str, if_none_match: Annotated[str, Header()] = "", accept_encoding: Annotated[str, Header()] = ""
) -> Response:
    """One of the files that the playground loads."""
    return _reply(name, if_none_match, accept_encoding)


def page_files() -> dict[str, Path]:
    """Every file by the name it is asked for, ``panels/walk.js``; what is stored compressed goes by its own name."""
    found = (path for path in _FOLDER.rglob("*") if path.is_file())
    named = {path.relative_to(_FOLDER).as_posix().removesuffix(_STORED_COMPRESSED): path for path in found}
    return {name: path for name, path in named.items() if Path(name).suffix in _KINDS}


def _reply(name: str, if_none_match: str, accept_encoding: str) -> Response:
    file = _load_all().get(name)
    if file is None:
        raise ServiceError(404, "not_found", f"the page has no file {name[:100]!r}: open / to see it", param="name")
    headers = _HEADERS | {
        "etag": file.etag,
        "cache-control": _KEPT if Path(name).suffix in _NEVER_CHANGE else _ASKED_AGAIN,
    }
    if file.etag in if_none_match:
        return Response(status_code=304, headers=headers)
    if file.compressed is not None and "gzip" in accept_encoding:
        return Response(file.compressed, media_type=file.media_type, headers=headers | {"content-encoding": "gzip"})
    return Response(file.content, media_type=file.media_type, headers=headers)


@lru_cache(maxsize=1)
def _load_all() -> dict[str, PageFile]:
    """All of it in memory: less than two megabytes, read at the first request."""
    return {name: _read(name, path) for name, path in page_files().items()}


def _read(name: str, path: Path) -> PageFile:
    stored = path.read_bytes()
    is_packed = path.suffix == _STORED_COMPRESSED
    content = gzip.decompress(stored) if is_packed else stored
    compressed = stored if is_packed else gzip.compress(content, mtime=0)
    digest = hashlib.sha256(content).hexdigest()[:24]
    return PageFile(
        content, compressed if len(compressed) < len(content) else None, _KINDS[Path(name).suffix], f'"{digest}"'
    )
