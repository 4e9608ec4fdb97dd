"""Decoded token ids into pieces of text: nothing is shown that a later token could still change."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator

from adavae.model.storage.tokenizer import Tokenizer
from adavae.service.results import TextPiece

_INCOMPLETE = "\ufffd"  # what an incomplete UTF-8 character decodes to


class TextStream:
    """Collects the tokens of several rows and yields their texts piece by piece; used from one event loop."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens: dict[int, list[int]] = defaultdict(list)
        self._sent: dict[int, str] = defaultdict(str)
        self._changed: asyncio.Queue[int | None] = asyncio.Queue()

    def put_token(self, row: int, token_id: int) -> None:
        """Adds one row's next token."""
        self._tokens[row].append(token_id)
        self._changed.put_nowait(row)

    def end(self) -> None:
        """No more tokens."""
        self._changed.put_nowait(None)

    async def pieces(self) -> AsyncIterator[TextPiece]:
        """Pieces as they become certain, until the end."""
        while (row := await self._changed.get()) is not None:
            piece = self._piece(row, is_last=False)
            if piece is not None:
                yield piece

    def rest(self) -> Iterator[TextPiece]:
        """The text that was held back, once there are no more tokens."""
        for row in sorted(self._tokens):
            piece = self._piece(row, is_last=True)
            if piece is not None:
                yield piece

    def _piece(self, row: int, *, is_last: bool) -> TextPiece | None:
        text, sent = self._tokenizer.decode(self._tokens[row]), self._sent[row]
        if not is_last:
            text = text.rstrip(_INCOMPLETE)
        if len(text) <= len(sent):
            return None
        self._sent[row] = text
        return TextPiece(row, text[len(sent) :])
