"""Room in the bank: who leaves for whom, and what it is told of those that may come."""

import asyncio
from pathlib import Path

import pytest

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
