"""Texts to token ids, never with more work than the limit is worth: what is surely too long is not even looked at.

A token has so many bytes at most, so a text of more than limit times as many characters cannot fit, whatever is in it.
Long texts, and what else takes as long, leave the event loop for a small pool of their own, some at a time: whoever has
many of them takes turns with the others there, and one who has gone away, or whose deadline has passed, asks for no
more turns.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from adavae.model.cleaning import clean
from adavae.model.storage.tokenizer import Tokenizer
from adavae.service.caller import CALLER
from adavae.service.errors import InvalidRequest, Overloaded

INLINE_CHARACTERS = 4_000  # a few milliseconds at worst; above it tokenizing leaves the event loop
_TURN_CHARACTERS = 16_000
_NUM_THREADS = 2
_SHARES = 4  # of what may wait; one client may take one of them
_CLEANED_SHARE = 4  # of the limit: composing accents makes one character of up to three

Item = TypeVar("Item")
Done = TypeVar("Done")


class TextTokens:
    """Tokenizes the texts of many requests; used from one event loop."""

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int, max_queued_characters: int) -> None:
        """``max_tokens`` is the longest text that is read."""
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._max_queued_characters, self._waiting = max_queued_characters, Counter[str]()  # by client
        self._pool = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="adavae-tokenizer")

    @property
    def max_characters(self) -> int:
        """A text with more of them has more than ``max_tokens`` tokens."""
        return self._max_tokens * self._tokenizer.longest_token

    def bounded(self, text: str, param: str, *, truncate: bool) -> str:
        """The text, cleaned, or as much of it as could matter where it is to be cut anyway.

        Raises:
            InvalidRequest: It is empty, or surely too long and not to be cut.
        """
        limit = self.max_characters
        if len(text) > limit and not truncate:
            raise InvalidRequest(
                f"the text has {len(text)} characters, the limit is {limit} ({self._max_tokens} tokens of at most "
                f"{self._tokenizer.longest_token}): shorten it, or set truncate to true",
                param=param,
                code="text_too_long",
            )
        if len(text) > _CLEANED_SHARE * limit:
            text = text.lstrip()[: _CLEANED_SHARE * limit]
        text = clean(text)
        if not text:
            message = "the text is empty: give at least one character that is not a space"
            raise InvalidRequest(message, param=param)
        return text[: limit + 1]  # one more, which keeps it too long

    async def fitting(self, texts: Sequence[str], params: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, none of which is longer than ``bounded`` leaves it; ``params`` names them in errors.

        Raises:
            InvalidRequest: A text is too long; those after it are not looked at.
            Overloaded: Too many characters wait for the tokenizer already.
        """
        rows: list[list[int]] = []

        def take(turn: list[list[int]]) -> None:
            for row in turn:
                self._check_fits(row, params[len(rows)])
                rows.append(row)

        await self._tokenize(texts, take)
        return rows

    async def cut(self, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
        """The first ``max_tokens`` token ids of each text; raises Overloaded as ``fitting`` does."""
        rows: list[list[int]] = []
        await self._tokenize(texts, lambda turn: rows.extend(row[:max_tokens] for row in turn))
        return rows

    async def _tokenize(self, texts: Sequence[str], take: Callable[[list[list[int]]], None]) -> None:
        """Gives ``take`` the token ids of some texts at a time, in order, until it raises."""
        if sum(map(len, texts)) <= INLINE_CHARACTERS:
            take(self._tokenizer.encode_many(texts))
        else:
            await self.in_turns(self._tokenizer.encode_many, texts, list(map(len, texts)), take)

    async def in_turns(
        self,
        work: Callable[[Sequence[Item]], Done],
        items: Sequence[Item],
        sizes: Sequence[int],
        take: Callable[[Done], None],
    ) -> None:
        """Gives ``take`` what ``work`` makes of some items at a time, in order, until one of the two raises.

        Args:
            work: Done outside of the event loop.
            items: At least one.
            sizes: How many characters each of them counts as.
            take: Called on the event loop.

        Raises:
            Overloaded: Too many characters wait already.
        """
        with self._queued(sum(sizes)):
            loop = asyncio.get_running_loop()
            for turn in _turns(sizes):
                take(await loop.run_in_executor(self._pool, work, items[turn]))

    def _check_fits(self, row: Sequence[int], param: str) -> None:
        if len(row) > self._max_tokens:
            raise InvalidRequest(
                f"the text has {len(row)} tokens, the limit is {self._max_tokens}: shorten it, or set truncate to true",
                param=param,
                code="text_too_long",
            )

    @contextmanager
    def _queued(self, num_characters: int) -> Iterator[None]:
        """So many of the caller's wait meanwhile; raises Overloaded where they are too many."""
        client = CALLER.get()
        self._check_room(client, num_characters)
        self._waiting[client] += num_characters
        try:
            yield
        finally:
            self._waiting[client] -= num_characters
            if not self._waiting[client]:
                del self._waiting[client]

    def _check_room(self, client: str, num_characters: int) -> None:
        """What is too much, but alone, is taken."""
        for waiting, limit, whose, setting in (
            (self._waiting[client], self._max_queued_characters // _SHARES, "of yours ", "a client's share of "),
            (self._waiting.total(), self._max_queued_characters, "", ""),
        ):
            if waiting and waiting + num_characters > limit:
                raise Overloaded(
                    f"{waiting} characters {whose}wait for the tokenizer and the request has {num_characters}; it "
                    f"takes {limit} ({setting}ADAVAE_MAX_QUEUED_CHARACTERS): try again later, or with shorter texts"
                )

    def close(self) -> None:
        """Ends the threads; what they are working on is thrown away."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _turns(sizes: Sequence[int]) -> Iterator[slice]:
    """Everything in order, as much at a time as makes up one turn; what is large goes alone."""
    start, num_characters = 0, 0
    for end, size in enumerate(sizes):
        if end > start and num_characters + size > _TURN_CHARACTERS:
            yield slice(start, end)
            start, num_characters = end, 0
        num_characters += size
    yield slice(start, None)
