"""GET /docs, what it shows and the files it is made of: Swagger UI from this package, so that the page works without a
network. Nobody needs a key for them, so each is made once and sent from memory.
"""

from dataclasses import dataclass
from functools import lru_cache
from gzip import decompress
from importlib.resources import files
from typing import Annotated

from fastapi import FastAPI, Header, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response

from adavae.service.errors import ServiceError
from adavae.service.http.replies import to_json

_FILES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon.png": "image/png",
}
_NEVER_FRAMED = {
    "content-security-policy": "frame-ancestors 'none'; base-uri 'none'; object-src 'none'",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_CACHED = {
    "cache-control": "public, max-age=86400",
    "vary": "accept-encoding",
    "x-content-type-options": "nosniff",
}


async def docs() -> HTMLResponse:
    """The interface, with every request to be tried out."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="adavae",
        swagger_js_url="static/swagger-ui-bundle.js",
        swagger_css_url="static/swagger-ui.css",
        swagger_favicon_url="static/favicon.png",
    )
    page.headers.update(_NEVER_FRAMED)
    return page


async def static(name: str, accept_encoding: Annotated[str, Header()] = "") -> Response:
    """One of the few files there are; texts are stored compressed, and sent so to clients that take it."""
    kind = _FILES.get(name)
    if kind is None:
        raise ServiceError(404, "not_found", f"there is no file {name!r} here; /docs is the page", param="name")
    file = load(name)
    if file.compressed is not None and "gzip" in accept_encoding:
        return Response(file.compressed, media_type=kind, headers=_CACHED | {"content-encoding": "gzip"})
    return Response(file.content, media_type=kind, headers=_CACHED)


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file as it is sent; ``compressed`` is gzip's form of ``content``, None where there is none."""

    content: bytes
    compressed: bytes | None


@lru_cache(maxsize=len(_FILES))
def load(name: str) -> StaticFile:
    """One of the files, two megabytes all of them."""
    folder = files("adavae.service") / "static"
    if name.endswith(".png"):
        return StaticFile((folder / name).read_bytes(), None)
    compressed = (folder / f"{name}.gz").read_bytes()
    return StaticFile(decompress(compressed), compressed)


class Description:
    """GET /openapi.json, put into JSON once; the prefix of a request, which a proxy may tell, is put before it."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._content: bytes | None = None

    async def reply(self, request: Request) -> Response:
        if self._content is None:
            self._content = to_json(self._app.openapi())
        content = self._content
        if prefix := request.scope.get("root_path", "").rstrip("/"):
            content = to_json({"servers": [{"url": prefix}]})[:-1] + b"," + content[1:]
        return Response(content, media_type="application/json")
