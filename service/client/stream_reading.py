"""A stream of server-sent events, read into pieces of text."""

from collections.abc import Iterator
from typing import Any

import httpx2

from adavae.service.client.retries import AdaVAEServiceError
from adavae.service.results import TextPiece


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
        content: Any = event.json()
        if event.event == "error":
            error = content["error"]
            self.has_begun = True
            raise AdaVAEServiceError(0, error["code"], error["message"], error["param"])
        if "text" in content:
            self.has_begun = True
            yield TextPiece(content["index"], content["text"])

    def check_done(self) -> None:
        """Raises AdaVAEServiceError where the stream ended before the service said so."""
        if not self.is_done:
            raise AdaVAEServiceError(0, "stream_cut", "the stream ended before the text did: try again")
