"""Waiting for tasks to be over, by callers that may be cancelled while they wait."""

import asyncio
from typing import Any


async def until_done(*tasks: "asyncio.Future[Any]") -> None:
    """Waits until all are done, however often the caller is cancelled.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile; all are done.
    """
    is_cancelled = False
    while waiting := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError:
            is_cancelled = True
    for task in tasks:
        if not task.cancelled():
            task.exception()  # or asyncio logs that nobody asked
    if is_cancelled:
        raise asyncio.CancelledError


async def end(*tasks: "asyncio.Future[Any]") -> None:
    """Cancels tasks and waits until they have tidied up; what they ended with no longer matters.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile; all are done.
    """
    for task in tasks:
        task.cancel()
    await until_done(*tasks)
