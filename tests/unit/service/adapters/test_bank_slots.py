"""Who stands in which slot: shared, waited for, given up, and never taken from who uses it."""

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from adavae.service.errors import Overloaded
from tests.tiny_sets import publish
from tests.unit.service.adapters.adapter_home import Home, running, until


@pytest.mark.asyncio
async def test_two_hundred_requests_for_twenty_sets_share_four_slots(tmp_path: Path) -> None:
    home = Home(tmp_path)
    paths = [publish(home.own, name=f"set-{number}") for number in range(20)]
    draw = random.Random(7)

    async def request(path: Path) -> None:
        async with home.use(path.parent.name) as pinned:
            assert pinned.version == path.name
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)

    async with running(home):
        async with asyncio.timeout(60):
            await asyncio.gather(*(request(draw.choice(paths)) for _ in range(200)))
        num_loads, num_evictions, num_failures = home.counts
    assert num_loads == home.bank.num_loads >= 20 - 4
    assert num_evictions == num_loads - 4
    assert num_failures == 0


@pytest.mark.asyncio
async def test_the_least_recently_used_set_makes_room(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=2)
    paths = {name: publish(home.own, name=name) for name in ("a", "b", "c")}
    async with running(home):
        for name in ("a", "b", "a", "c"):
            await home.version(name)
        assert [home.state(paths[name]).is_loaded for name in "abc"] == [True, False, True]
        assert home.counts == (3, 1, 0)


@pytest.mark.asyncio
async def test_requests_for_one_set_load_it_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own)
    async with running(home):
        await asyncio.gather(*(home.version() for _ in range(50)))
    assert home.counts == (1, 0, 0)


@pytest.mark.asyncio
async def test_different_sets_load_side_by_side(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for name in ("a", "b", "c"):
        publish(home.own, name=name)
    async with running(home):
        home.bank.may_load.clear()
        waiting = [asyncio.ensure_future(home.version(name)) for name in ("a", "b", "c")]
        await until(lambda: sum(each.slot is not None for each in home.registry._slots._entries.values()) == 3)
        home.bank.may_load.set()
        await asyncio.gather(*waiting)


@pytest.mark.asyncio
async def test_a_pinned_slot_is_waited_for_and_refused_when_that_takes_too_long(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=1)
    publish(home.own, name="a")
    publish(home.own, name="b")
    async with running(home):
        async with home.use("a"):
            waiting = asyncio.ensure_future(home.version("b"))
            await until(lambda: home.registry._slots._waiting)
            assert await home.version("a")
        await waiting
    impatient = Home(tmp_path, num_slots=1, wait_s=0.01)
    async with running(impatient), impatient.use("a"):
        with pytest.raises(Overloaded, match=r"all 1 places.*ADAVAE_BANK_SLOTS"):
            await impatient.version("b")
        assert await impatient.version("a")
    async with running(impatient):
        await impatient.version("b")


@pytest.mark.asyncio
async def test_slots_are_given_in_the_order_in_which_they_were_asked_for(tmp_path: Path) -> None:
    home = Home(tmp_path, num_slots=1)
    order: list[str] = []
    for name in ("a", "b", "c", "d"):
        publish(home.own, name=name)

    async def request(name: str) -> None:
        async with home.use(name):
            order.append(name)

    async with running(home):
        async with home.use("a"):
            waiting = [asyncio.ensure_future(request(name)) for name in ("c", "b", "d")]
            await until(lambda: len(home.registry._slots._waiting) == 3)
        await asyncio.gather(*waiting)
    assert order == ["c", "b", "d"]


@pytest.mark.asyncio
@pytest.mark.parametrize("is_granted", [True, False])
async def test_a_cancelled_request_leaves_no_pin_and_no_half_loaded_slot(tmp_path: Path, is_granted: bool) -> None:
    home = Home(tmp_path, num_slots=1)
    publish(home.own, name="a")
    publish(home.own, name="b")
    slots = home.registry._slots
    async with running(home):
        async with home.use("a") if not is_granted else contextlib.nullcontext():
            home.bank.may_load.clear()
            waiting = [asyncio.ensure_future(home.version("b")) for _ in range(3)]
            await until(lambda: slots._entries and next(reversed(slots._entries.values())).num_pins == 3)
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            assert all(task.cancelled() for task in waiting)
            home.bank.may_load.set()
        await until(lambda: all(entry.is_loaded for entry in slots._entries.values()))
        assert [entry.num_pins for entry in slots._entries.values()] == [0]
        assert not slots._waiting
        assert await home.version("a") and await home.version("b") and await home.version("a")


@pytest.mark.asyncio
async def test_one_cancelled_request_takes_nothing_from_the_others(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = publish(home.own)
    async with running(home):
        home.bank.may_load.clear()
        waiting = [asyncio.ensure_future(home.version()) for _ in range(3)]
        await until(lambda: home.registry._slots._entries)
        waiting[0].cancel()
        home.bank.may_load.set()
        assert await asyncio.gather(*waiting[1:]) == [path.name] * 2
    assert home.counts == (1, 0, 0)


@pytest.mark.asyncio
async def test_random_cancellations_leave_every_slot_usable(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for number in range(12):
        publish(home.own, name=f"set-{number}")
    draw = random.Random(3)

    async def request() -> None:
        async with home.use(f"set-{draw.randrange(12)}"):
            await asyncio.sleep(0)

    async with running(home):
        for _ in range(10):
            tasks = [asyncio.ensure_future(request()) for _ in range(40)]
            for _ in range(draw.randrange(60)):
                await asyncio.sleep(0)
            for task in draw.sample(tasks, 30):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(each is None or isinstance(each, asyncio.CancelledError) for each in results)
        slots = home.registry._slots
        await until(lambda: all(entry.is_loaded for entry in slots._entries.values()))
        assert all(entry.num_pins == 0 for entry in slots._entries.values())
        taken = [entry.slot for entry in slots._entries.values()]
        assert sorted([*slots._free, *(slot for slot in taken if slot is not None)]) == [0, 1, 2, 3]


@pytest.mark.asyncio
async def test_stopping_gives_up_loads_that_nobody_waits_for(tmp_path: Path) -> None:
    home = Home(tmp_path)
    publish(home.own)
    await home.registry.start()
    home.bank.may_load.clear()
    waiting = asyncio.ensure_future(home.version())
    slots = home.registry._slots
    await until(lambda: any(entry.slot is not None for entry in slots._entries.values()))
    waiting.cancel()
    await asyncio.wait([waiting])
    await home.registry.stop()
    assert not slots._entries and len(slots._free) == 4


@pytest.mark.asyncio
async def test_a_request_goes_on_while_the_registry_stops(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = publish(home.own)
    await home.registry.start()
    home.bank.may_load.clear()
    waiting = asyncio.ensure_future(home.version())
    await until(lambda: home.registry._slots._entries)
    await home.registry.stop()
    home.bank.may_load.set()
    assert await waiting == path.name
