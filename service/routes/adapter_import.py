"""POST /adapters: a set that comes as one archive, bounded, verified and tried before anybody is served by it."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Query, Request

from adavae.service.errors import ServiceError
from adavae.service.http.replies import JsonReply, error_reply
from adavae.service.routes.adapters import shape
from adavae.service.routes.dependencies import Latent
from adavae.service.routes.early_refusal import answered
from adavae.service.schemas.adapters import ImportQuery

_TYPES = ("application/gzip", "application/x-gzip", "application/x-tar", "application/octet-stream")


async def import_adapter(request: Request, query: Annotated[ImportQuery, Query()], latent: Latent) -> JsonReply:
    """Installs the set in the body: a `.tar.gz` as `GET /adapters/{name}/archive` and `adavae adapters export` make it.

    It must be whole, fit the backbone, and read and write a text; from then on its name means it.
    """
    given = request.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() not in _TYPES:
        message = f"the content type is {given[:100]!r}: send the .tar.gz as it is, as application/gzip"
        return error_reply(ServiceError(415, "not_an_archive", message), {"connection": "close"})
    body = _Body(request)

    async def reply() -> JsonReply:
        return JsonReply(shape(await latent.import_adapter(body.pieces(), query.name)))

    return await answered(body, reply())


class _Body:
    def __init__(self, request: Request) -> None:
        self._request, self.is_complete = request, False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._request.stream():
            yield piece
        self.is_complete = True
