"""Answers to bodies that are read while they come: what is refused before its end closes the connection."""

from collections.abc import Awaitable
from typing import Protocol

from starlette.requests import ClientDisconnect

from adavae.service.errors import ServiceError
from adavae.service.http.replies import JsonReply, error_reply
from adavae.service.http.request_log import STATUS_CLIENT_GONE


class StreamedBody(Protocol):
    """A request's body that may not have come whole."""

    @property
    def is_complete(self) -> bool: ...


async def answered(body: StreamedBody, reply: Awaitable[JsonReply]) -> JsonReply:
    """The reply, or the refusal of a body whose rest is never read.

    Raises:
        ServiceError: 499 where the client has left; whatever ``reply`` raises once the body has come whole.
    """
    try:
        return await reply
    except ClientDisconnect as exc:
        raise ServiceError(STATUS_CLIENT_GONE, "client_gone", "the client has left") from exc
    except ServiceError as exc:
        if body.is_complete:
            raise
        return error_reply(exc, {"connection": "close"})
