"""Texts to token ids: what is too long costs nothing, what is long goes to the pool and takes turns there."""

import asyncio
import contextvars
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from adavae.model.cleaning import clean
from adavae.service.caller import CALLER
from adavae.service.encodings.text_tokens import TextTokens
from adavae.service.errors import InvalidRequest, Overloaded, ServiceError

Done = TypeVar("Done")
LONGEST_TOKEN, MAX_TOKENS = 5, 2000
MAX_CHARACTERS = LONGEST_TOKEN * MAX_TOKENS


class OneTokenACharacter:
    """A tokenizer that keeps what it was given, and waits where it is told to.

    Attributes:
        gate: Cleared, calls from other threads than the event loop's wait for it.
    """

    longest_token = LONGEST_TOKEN

    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.threads: set[str] = set()

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(60)
        self.seen.append(tuple(texts))
        return [[ord(character) for character in text] for text in texts]


def tokens_of(tokenizer: OneTokenACharacter, max_queued_characters: int = 10**9) -> TextTokens:
    return TextTokens(tokenizer, max_tokens=MAX_TOKENS, max_queued_characters=max_queued_characters)  # type: ignore[arg-type]


def begun(client: str, work: Coroutine[Any, Any, Done]) -> asyncio.Task[Done]:
    """On behalf of a client."""
    context = contextvars.copy_context()
    context.run(CALLER.set, client)
    return asyncio.create_task(work, context=context)


HUGE = {
    "pairs": "1!" * 2_000_000,
    "spaces": " " * 3_900_000,
    "combining marks": "a\u0301" * 1_000_000,
    "no letters at all": "\U0001f3fd" * 1_000_000,
    "controls": "\x00\x1f\x7f\u200b\ufeff" * 400_000,
    "right to left": "\u202e\u0634" * 1_000_000,
    "one more than there is room for": "a" * (MAX_CHARACTERS + 1),
}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_a_text_that_is_surely_too_long_is_refused_or_cut_unread(text: str) -> None:
    tokenizer = OneTokenACharacter()
    tokens = tokens_of(tokenizer)
    with pytest.raises(InvalidRequest) as caught:
        tokens.bounded(text, "texts[3]", truncate=False)
    assert (caught.value.param, caught.value.code) == ("texts[3]", "text_too_long")
    for told in (f"has {len(text)} characters", f"the limit is {MAX_CHARACTERS}", "shorten it"):
        assert told in caught.value.message
    if cleaned := clean(text):
        assert tokens.bounded(text, "texts[3]", truncate=True) == cleaned[: MAX_CHARACTERS + 1]
    else:
        with pytest.raises(InvalidRequest, match="the text is empty"):
            tokens.bounded(text, "texts[3]", truncate=True)
    assert tokenizer.seen == []


def test_a_text_that_may_fit_is_left_as_it_is() -> None:
    tokens = tokens_of(OneTokenACharacter())
    text = "a" * MAX_CHARACTERS
    assert tokens.bounded(text, "text", truncate=False) == tokens.bounded(text, "text", truncate=True) == text
    with pytest.raises(InvalidRequest, match="is empty"):
        tokens.bounded("", "text", truncate=True)


@pytest.mark.asyncio
async def test_behind_the_first_text_that_is_too_long_nothing_is_read() -> None:
    tokenizer = OneTokenACharacter()
    texts = ["fine", *["a" * (MAX_TOKENS + 1 + number) for number in range(100)]]
    with pytest.raises(InvalidRequest, match=rf"has {MAX_TOKENS + 1} tokens, the limit is {MAX_TOKENS}") as caught:
        await tokens_of(tokenizer).fitting(texts, [f"texts[{number}]" for number in range(101)])
    assert caught.value.param == "texts[1]"
    assert sum(map(len, tokenizer.seen)) < 10


@pytest.mark.asyncio
async def test_texts_come_back_in_order_however_they_are_cut_into_turns() -> None:
    texts = [chr(97 + number % 26) * (1 + 37 * number % 1900) for number in range(300)]
    tokenizer = OneTokenACharacter()
    tokens = tokens_of(tokenizer)
    whole = await tokens.fitting(texts, texts)
    assert ["".join(map(chr, row)) for row in whole] == texts
    assert ["".join(map(chr, row)) for row in await tokens.cut(texts, 10)] == [text[:10] for text in texts]
    assert max(sum(map(len, turn)) for turn in tokenizer.seen) <= 16_000


@pytest.mark.asyncio
async def test_short_texts_do_not_wait_for_the_pool_and_long_ones_do_not_hold_the_loop() -> None:
    tokenizer = OneTokenACharacter()
    tokens = tokens_of(tokenizer)
    await tokens.cut(["short"], 10)
    assert tokenizer.threads == {threading.current_thread().name}
    tokenizer.gate.clear()
    long = asyncio.ensure_future(tokens.cut(["a" * 1900] * 10, 10))
    await asyncio.sleep(0)
    assert not long.done()
    tokenizer.gate.set()
    assert len(await long) == 10
    assert any(name.startswith("adavae-tokenizer") for name in tokenizer.threads)


@pytest.mark.asyncio
async def test_other_work_takes_turns_by_what_each_item_counts_as() -> None:
    taken, threads = list[list[int]](), set[str]()

    def work(turn: Sequence[int]) -> list[int]:
        threads.add(threading.current_thread().name)
        return [2 * each for each in turn]

    sizes = [9_000, 7_000, 1, 40_000, 0, 5]
    await tokens_of(OneTokenACharacter()).in_turns(work, range(6), sizes, taken.append)
    assert taken == [[0, 2], [4], [6], [8, 10]]
    assert all(name.startswith("adavae-tokenizer") for name in threads)


@pytest.mark.asyncio
async def test_more_than_may_wait_is_refused_and_room_comes_back() -> None:
    tokenizer = OneTokenACharacter()
    tokens = tokens_of(tokenizer, max_queued_characters=50_000)
    large = ["a" * 1900] * 30
    tokenizer.gate.clear()
    first = asyncio.ensure_future(tokens.cut(large, 10))  # more than there is room for, but alone
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match=r"ADAVAE_MAX_QUEUED_CHARACTERS.*try again") as caught:
        await tokens.cut(large, 10)
    assert (caught.value.status, caught.value.code) == (429, "overloaded")
    tokenizer.gate.set()
    await first
    assert len(await tokens.cut(large, 10)) == 30


@pytest.mark.asyncio
async def test_who_has_left_takes_no_more_turns_and_frees_the_queue() -> None:
    tokenizer = OneTokenACharacter()
    tokens = tokens_of(tokenizer, max_queued_characters=50_000)
    tokenizer.gate.clear()
    left = asyncio.ensure_future(tokens.cut(["b" * 1900] * 500, 10))
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    tokenizer.gate.set()
    assert len(await tokens.cut(["a" * 1900] * 20, 10)) == 20
    assert sum(text[0] == "b" for turn in tokenizer.seen for text in turn) <= 8, "one turn may have begun"


@pytest.mark.asyncio
async def test_a_client_with_its_share_waiting_is_refused_and_another_is_not() -> None:
    """Whoever kept the whole queue full had everybody else's long texts refused."""
    tokenizer = OneTokenACharacter()
    tokens = tokens_of(tokenizer, max_queued_characters=80_000)
    texts = ["a" * 1900] * 5
    tokenizer.gate.clear()
    greedy = [begun("greedy", tokens.cut(texts, 10)) for _ in range(3)]
    await asyncio.sleep(0)
    assert [work.done() for work in greedy] == [False, False, True]
    with pytest.raises(Overloaded) as refused:
        await greedy[2]
    for told in (
        "19000 characters of yours wait for the tokenizer and the request has 9500",
        "it takes 20000 (a client's share of ADAVAE_MAX_QUEUED_CHARACTERS): try again later",
    ):
        assert told in refused.value.message
    modest = begun("modest", tokens.cut(texts, 10))
    await asyncio.sleep(0)
    assert not modest.done()
    tokenizer.gate.set()
    for work in (*greedy[:2], modest):
        assert len(await work) == 5


@pytest.mark.asyncio
async def test_clients_together_have_no_more_than_the_queue_takes() -> None:
    tokenizer = OneTokenACharacter()
    tokens = tokens_of(tokenizer, max_queued_characters=40_000)
    tokenizer.gate.clear()
    work = [begun(f"client {number}", tokens.cut(["a" * 1900] * 5, 10)) for number in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match=r"^38000 characters wait .* takes 40000 \(ADAVAE_MAX_QUEUED_CHARACTERS\)"):
        await work[4]
    tokenizer.gate.set()
    await asyncio.gather(*work[:4])


@pytest.mark.asyncio
async def test_a_share_comes_back_after_errors_and_from_who_has_left() -> None:
    tokenizer = OneTokenACharacter()
    tokens = tokens_of(tokenizer, max_queued_characters=80_000)
    large, too_long = ["a" * 1900] * 10, ["a" * 1900] * 9 + ["b" * (MAX_TOKENS + 1)]
    with pytest.raises(InvalidRequest):
        await begun("greedy", tokens.fitting(too_long, too_long))
    tokenizer.gate.clear()
    left = begun("greedy", tokens.cut(large, 10))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await begun("greedy", tokens.cut(large, 10))
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    again = begun("greedy", tokens.cut(large, 10))
    await asyncio.sleep(0)
    tokenizer.gate.set()
    assert len(await again) == 10
    assert not tokens._waiting, "nobody is remembered"


@pytest.mark.asyncio
async def test_clients_take_turns_in_the_pool() -> None:
    """One with hundreds of turns delays another by a turn or two, not by all of its own."""
    tokenizer = OneTokenACharacter()
    tokens = tokens_of(tokenizer)
    greedy = asyncio.ensure_future(tokens.cut(["b" * 1900] * 2000, 10))
    await asyncio.sleep(0)
    await tokens.cut(["a" * 1900] * 4, 10)
    num_turns_before = sum(turn[0][0] == "b" for turn in tokenizer.seen)
    assert not greedy.done()
    assert num_turns_before < 100
    greedy.cancel()
    with pytest.raises((asyncio.CancelledError, ServiceError)):
        await greedy
