"""Work that ends when nobody waits for it any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.types import Receive

from adavae.service.errors import ServiceError
from adavae.service.http.deadlines import deadline_of
from adavae.service.http.request_log import STATUS_CLIENT_GONE
from adavae.service.tasks import end

Result = TypeVar("Result")


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """What ``work`` gives; it is cancelled, so that its rows are freed, as soon as the client has left.

    Raises:
        ServiceError: The client has left; nobody reads it.
        DeadlineExceeded: The request's time is over.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request.receive))
    try:
        async with deadline_of(request.scope).kept():
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ServiceError(STATUS_CLIENT_GONE, "client_gone", "the client has left")
        return working.result()
    finally:
        await end(leaving, working)


async def _left(receive: Receive) -> None:
    """Returns once the connection is closed."""
    while (await receive())["type"] != "http.disconnect":
        pass
