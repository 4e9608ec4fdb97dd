"""GET /docs and the files it is made of: Swagger UI from this package, so that the page works without a network."""

import gzip
from importlib.resources import files
from typing import Annotated

from fastapi import Header
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response

from adavae.service.errors import ServiceError

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
    folder = files("adavae.service") / "static"
    if name.endswith(".png"):
        return Response((folder / name).read_bytes(), media_type=kind, headers=_CACHED)
    content = (folder / f"{name}.gz").read_bytes()
    if "gzip" in accept_encoding:
        return Response(content, media_type=kind, headers=_CACHED | {"content-encoding": "gzip"})
    return Response(gzip.decompress(content), media_type=kind, headers=_CACHED)
