"""Room in the bank: who leaves for whom, and what it is told of those that may come."""

import asyncio
from pathlib import Path

import pytest

from adavae.model.errors import WeightsCorrupted
from adavae.model.latent.space import LatentSpace
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.manifest import TENSORS
from adavae.service.errors import Overloaded
from tests.tiny import PLAIN, POOLED
from tests.tiny_sets import publish
from tests.unit.service.adapters.adapter_home import Home, running, until


@pytest.mark.asyncio
async def test_a_set_that_finds_no_room_takes_that_of_idle_ones(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for name in ("a", "b", "c"):
        publish(home.own, name=name)
    async with running(home):
        for name in ("a", "b"):
            await home.version(name)
        home.bank.max_sets = 2
        await home.version("c")
        assert {each.name: each.is_loaded for each in home.registry.states()} == {"a": False, "b": True, "c": True}
        home.bank.max_sets = 1
        assert await home.version("a") and await home.version("b") and await home.version("c")
        assert list(home.bank.contents.values()) == [f"c@{await home.version('c')}"]


@pytest.mark.asyncio
async def test_a_set_that_finds_no_room_beside_those_in_use_is_put_off_and_the_idle_ones_stay(tmp_path: Path) -> None:
    """All idle sets were thrown out for nothing on the way to the refusal."""
    home = Home(tmp_path, wait_s=0.05)
    paths = {name: publish(home.own, name=name) for name in ("a", "b", "idle")}
    async with running(home):
        await home.version("idle")
        async with home.use("a"):
            home.bank.max_sets = 1
            with pytest.raises(Overloaded, match="no room beside the others"):
                await home.version("b")
            assert home.state(paths["b"]).problem is None
            assert home.state(paths["idle"]).is_loaded
        assert await home.version("b") == paths["b"].name
        assert home.counts[2] == 0


@pytest.mark.asyncio
async def test_a_set_that_finds_no_room_waits_for_one_in_use_as_for_a_slot(tmp_path: Path) -> None:
    """It was refused at once, although a set that is in use is let go of within milliseconds."""
    home = Home(tmp_path)
    paths = {name: publish(home.own, name=name) for name in ("a", "b", "c")}
    async with running(home):
        home.bank.max_sets = 1
        async with home.use("a"):
            waiting = [asyncio.ensure_future(home.version(name)) for name in ("b", "c")]
            await asyncio.wait(waiting, timeout=0.05)
            assert not any(each.done() for each in waiting)
        assert await asyncio.gather(*waiting) == [paths["b"].name, paths["c"].name]
        assert len(home.bank.contents) == 1


@pytest.mark.asyncio
async def test_sets_that_came_in_place_of_others_do_not_wait_for_what_these_left(tmp_path: Path) -> None:
    """Both counted what the other's slot still held, of sets that nobody could use, and from then on nothing fitted."""
    home = Home(tmp_path, num_slots=2)
    for name in ("a", "b", "c", "d"):
        publish(home.own, name=name)
    async with running(home):
        await asyncio.gather(home.version("a"), home.version("b"))
        home.bank.max_sets = 1
        async with asyncio.timeout(5):
            assert len(await asyncio.gather(home.version("c"), home.version("d"))) == 2
            for name in ("c", "a", "d", "b"):
                assert await home.version(name)


@pytest.mark.asyncio
async def test_a_load_that_fails_leaves_nothing_of_the_set_that_made_way_for_it(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=1)
    publish(home.own, name="a")
    damaged = publish(home.own, name="damaged")
    async with running(home):
        await home.version("a")
        (damaged / TENSORS).write_bytes(b"damaged")
        with pytest.raises(WeightsCorrupted):
            await home.version("damaged")
        assert not home.bank.contents


@pytest.mark.asyncio
async def test_a_set_whose_requests_left_while_it_was_tried_makes_room_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was told that it had become idle: who waited for its memory waited in vain."""
    home = Home(tmp_path, wait_s=5.0)
    for name in ("a", "b"):
        publish(home.own, name=name)
    async with running(home):
        home.bank.max_sets = 1
        home.registry._tried.clear()
        may_try, try_loaded = asyncio.Event(), home.bank.try_loaded

        async def tried(slot: int, adapter_set: AdapterSet, space: LatentSpace) -> None:
            await may_try.wait()
            await try_loaded(slot, adapter_set, space)

        monkeypatch.setattr(home.bank, "try_loaded", tried)
        first = asyncio.ensure_future(home.version("a"))
        await until(lambda: home.bank.contents)
        second = asyncio.ensure_future(home.version("b"))
        await asyncio.wait({second}, timeout=0.1)
        first.cancel()
        await asyncio.wait({second}, timeout=0.1)
        may_try.set()
        async with asyncio.timeout(4):
            assert await second


@pytest.mark.asyncio
async def test_a_set_that_nobody_waits_for_any_more_does_not_wait_for_room(tmp_path: Path) -> None:
    """It kept its slot, and threw others out once there was memory."""
    home = Home(tmp_path, num_slots=2)
    for name in ("a", "b", "c"):
        publish(home.own, name=name)
    async with running(home):
        home.bank.max_sets = 1
        async with home.use("a"):
            gone = asyncio.ensure_future(home.version("b"))
            await asyncio.wait({gone}, timeout=0.1)
            gone.cancel()
            await asyncio.wait({gone})
            await until(lambda: not home.registry._slots.holds("b") and len(home.registry._slots._free) == 1)
        assert list(home.bank.contents.values()) == [f"a@{await home.version('a')}"]


@pytest.mark.asyncio
async def test_what_is_deleted_leaves_its_slot_once_nobody_uses_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own)
    publish(home.own, name="large", config=POOLED)
    async with running(home):
        await home.version()
        async with home.use("large"):
            await home.registry.delete("large")
            await until(lambda: home.bank.expected == [PLAIN])
            assert len(home.bank.contents) == 2
        await home.registry.refresh()
        await until(lambda: len(home.bank.contents) == 1)
        assert await home.version()


@pytest.mark.asyncio
async def test_the_bank_is_told_of_what_may_be_asked_for_the_default_first(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own, name="a", config=POOLED)
    publish(home.own)
    refused = publish(home.own, name="z", config=POOLED)
    home.bank.refused = f"z@{refused.name}"
    async with running(home):
        await until(lambda: home.bank.expected)
        assert home.bank.expected == [PLAIN, POOLED]
        assert home.state(refused).problem == f"z@{refused.name} is too large for this bank"
