"""Streams of server-sent events: what an event holds, and the pieces of text that a stream of them makes."""

from collections.abc import Iterator
from typing import Any

import httpx2

from adavae.service.client.retries import AdaVAEServiceError
from adavae.service.results import TextPiece

_LONGEST_MESSAGE = 2000


def event_content(event: httpx2.ServerSentEvent, status: int = 0) -> dict[str, Any]:
    """The object in an event; raises AdaVAEServiceError for an error's, and for what is no event of the service.

    Args:
        event: Any event but the last one, ``[DONE]``.
        status: The error's, where the event is one.
    """
    try:
        content: Any = event.json()
        if event.event == "error":
            error = content["error"]
            param = error.get("param")
            raise AdaVAEServiceError(
                status, _short(error["code"]), _short(error["message"]), None if param is None else _short(param)
            )
        if isinstance(content, dict):
            return content
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise AdaVAEServiceError(0, "unreadable_reply", "the stream holds something else than events: is it the service?")


def _short(value: object) -> str:
    """A text of an error, as far as anyone would read it."""
    return str(value)[:_LONGEST_MESSAGE].encode("utf-8", "replace").decode()


class StreamReading:
    """A stream of events, read so far.

    Attributes:
        has_begun: A piece was given out: starting over would repeat it.
        is_done: The service said that this was all.
    """

    def __init__(self) -> None:
        self.has_begun = self.is_done = False

    def pieces(self, event: httpx2.ServerSentEvent) -> Iterator[TextPiece]:
        """What an event adds to the text; the whole reply at the end adds nothing."""
        if event.data == "[DONE]":
            self.is_done = True
            return
        try:
            content = event_content(event)
        except AdaVAEServiceError:
            self.has_begun = True  # so that nothing is sent again
            raise
        if isinstance(text := content.get("text"), str) and isinstance(index := content.get("index"), int):
            self.has_begun = True
            yield TextPiece(index, text)

    def check_done(self) -> None:
        """Raises AdaVAEServiceError where the stream ended before the service said so."""
        if not self.is_done:
            raise AdaVAEServiceError(0, "stream_cut", "the stream ended before the text did: try again")
