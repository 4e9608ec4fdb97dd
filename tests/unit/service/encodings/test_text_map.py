"""Maps are drawn in threads, one at a time in a lane, each with a deadline; clients take turns."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

import adavae.service.encodings.text_map as text_map
from adavae.model.latent.map_points import MapMethod
from adavae.service.caller import CALLER
from adavae.service.encodings.text_map import Cartographer
from adavae.service.errors import DeadlineExceeded, Overloaded

MU = np.zeros((3, 2), np.float32)


@dataclass
class Drawings:
    """What is drawn in place of maps: each waits until it may end, those by PCA do not."""

    begun: list[str] = field(default_factory=list)
    num_running: int = 0
    may_end: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def draw(self, _mu: object, labels: list[str], method: MapMethod) -> str:
        self.begun.append(labels[0])
        if method == "tsne":
            self.num_running += 1
            assert self.num_running == 1
            assert self.may_end.acquire(timeout=10)
            self.num_running -= 1
        return f"drawn {labels[0]}"


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Drawings]:
    drawings = Drawings()
    monkeypatch.setattr(text_map, "map_points", drawings.draw)
    yield drawings
    drawings.may_end.release(100)


@contextmanager
def called_by(client: str) -> Iterator[None]:
    token = CALLER.set(client)
    try:
        yield
    finally:
        CALLER.reset(token)


async def drawn(cartographer: Cartographer, name: str, method: MapMethod = "tsne") -> str:
    with cartographer.place(method, len(MU)) as place:
        return cast(str, await place.draw(MU, [name]))


async def asked(cartographer: Cartographer, client: str, name: str, method: MapMethod = "tsne") -> "asyncio.Task[str]":
    """A request that has come as far as it comes at once."""
    with called_by(client):
        task = asyncio.create_task(drawn(cartographer, name, method))
    await asyncio.sleep(0)
    return task


async def until(drawings: Drawings, name: str) -> None:
    async with asyncio.timeout(10):
        while name not in drawings.begun:
            await asyncio.sleep(0.001)


@pytest.mark.asyncio
async def test_waiting_counts_and_whoever_gives_up_frees_nothing_before_the_thread_has_ended(
    drawings: Drawings,
) -> None:
    cartographer = Cartographer(0.05)
    for name in ("first", "second"):
        with pytest.raises(DeadlineExceeded):
            await drawn(cartographer, name)
    assert drawings.begun == ["first"], "the second never began"
    drawings.may_end.release(2)
    async with asyncio.timeout(10):
        while True:
            try:
                assert await drawn(cartographer, "third") == "drawn third"
            except DeadlineExceeded:
                continue
            break
    assert "second" not in drawings.begun


@pytest.mark.asyncio
async def test_a_client_with_many_maps_keeps_another_waiting_for_one(drawings: Drawings) -> None:
    """Every map of one client that waited was drawn before another client's, which ended in 504."""
    cartographer = Cartographer(60)
    greedy = [await asked(cartographer, "greedy", "g1"), await asked(cartographer, "greedy", "g2")]
    modest = await asked(cartographer, "modest", "m1")
    with (
        called_by("greedy"),
        pytest.raises(Overloaded, match=r"2 maps of yours by tsne.*limit is 2: wait for one") as no,
    ):
        await drawn(cartographer, "g3")
    assert (no.value.status, no.value.retry_after_s) == (429, 5)
    drawings.may_end.release(3)
    assert await asyncio.gather(*greedy, modest) == ["drawn g1", "drawn g2", "drawn m1"]
    assert drawings.begun == ["g1", "m1", "g2"]
    drawings.may_end.release()
    with called_by("greedy"):
        assert await drawn(cartographer, "g4") == "drawn g4", "there is room again"


@pytest.mark.asyncio
async def test_clients_take_turns(drawings: Drawings) -> None:
    cartographer = Cartographer(60)
    tasks = [await asked(cartographer, "z", "z1")]
    for client in "abc":
        tasks += [await asked(cartographer, client, f"{client}{number}") for number in (1, 2)]
    drawings.may_end.release(7)
    await asyncio.gather(*tasks)
    assert drawings.begun == ["z1", "a1", "b1", "c1", "a2", "b2", "c2"]


@pytest.mark.asyncio
async def test_a_map_by_pca_does_not_wait_for_one_by_tsne(drawings: Drawings) -> None:
    cartographer = Cartographer(60)
    slow = await asked(cartographer, "a", "slow")
    await until(drawings, "slow")
    with called_by("a"):
        assert await drawn(cartographer, "quick", "pca") == "drawn quick"
    assert not slow.done()
    drawings.may_end.release()
    assert await slow == "drawn slow"


@pytest.mark.asyncio
async def test_a_client_that_leaves_gives_its_place_back(drawings: Drawings) -> None:
    """One that was being drawn counts until its thread has ended."""
    cartographer = Cartographer(60)
    drawing, waiting = [await asked(cartographer, "a", name) for name in ("a1", "a2")]
    await until(drawings, "a1")
    for _ in range(3):
        waiting.cancel()
        await asyncio.wait([waiting])
        waiting = await asked(cartographer, "a", "a3")
    drawing.cancel()
    await asyncio.wait([drawing])
    refused = await asked(cartographer, "a", "a4")
    with pytest.raises(Overloaded):
        await refused
    drawings.may_end.release(2)
    assert await waiting == "drawn a3"
    assert drawings.begun == ["a1", "a3"]


@pytest.mark.asyncio
async def test_a_map_that_was_given_up_while_it_waited_is_charged_to_nobody(drawings: Drawings) -> None:
    """Its client's next one waited as if it had been drawn."""
    cartographer = Cartographer(10.0)
    running = await asked(cartographer, "first", "first")
    await until(drawings, "first")
    given_up = await asked(cartographer, "a", "given up")
    given_up.cancel()
    await asyncio.wait((given_up,))
    assert len(cartographer._lanes["tsne"]._waiting) == 0
    rest = [await asked(cartographer, client, name) for client, name in (("a", "a"), ("b", "b"))]
    drawings.may_end.release(3)
    await asyncio.gather(running, *rest)
    assert drawings.begun == ["first", "a", "b"]


@pytest.mark.asyncio
async def test_a_turn_that_comes_to_one_who_leaves_at_that_moment_goes_to_the_next(drawings: Drawings) -> None:
    cartographer = Cartographer(60)
    first, leaving, last = [await asked(cartographer, name, name) for name in ("a", "b", "c")]
    lane: Any = cartographer._lanes["tsne"]
    call_next = lane._call_next

    def call_and_cancel() -> None:
        call_next()
        leaving.cancel()

    lane._call_next = call_and_cancel
    drawings.may_end.release(2)
    assert await first == "drawn a"
    assert await last == "drawn c"
    assert leaving.cancelled()
    assert drawings.begun == ["a", "c"]


@pytest.mark.asyncio
async def test_room_is_taken_while_texts_are_encoded_and_given_back_where_that_fails() -> None:
    cartographer = Cartographer(60)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), cartographer.place("pca", 3), cartographer.place("pca", 3):
            with pytest.raises(Overloaded), cartographer.place("pca", 3):
                pass
            raise ZeroDivisionError
