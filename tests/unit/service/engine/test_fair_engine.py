"""Clients beside each other in one engine: who asks for little waits for little, and the answers are the same."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from prometheus_client import Gauge

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.service.caller import CALLER, SINCE
from adavae.service.engine import engine as engine_module
from adavae.service.engine.decode_batch import DecodeRow
from adavae.service.engine.engine import Engine
from adavae.service.engine.scheduler import Scheduler
from adavae.service.engine.text_lengths import TextLengths
from adavae.service.engine.ticket import Ticket, due_at
from adavae.service.engine.time_shares import Task, TimeShares
from adavae.service.engine.work import Call, Done, EncodeRow, EngineLimits, HouseCall, Work
from adavae.service.errors import Overloaded
from adavae.service.metrics import Metrics
from tests.tiny import VARIANTS
from tests.tiny_text import tiny_set
from tests.unit.service.engine.test_engine import LIMITS, latents, made_texts, on_the_device, running, until

Result = TypeVar("Result")
ROOMY = EngineLimits(encode_batch_tokens=256, decode_rows=8, max_tokens=16, max_queued_rows=3000)


def on_behalf_of(client: str, ask: Callable[[], Awaitable[Result]]) -> "asyncio.Task[Result]":
    """A request, begun, of this client."""

    async def asked() -> Result:
        return await ask()

    context = copy_context()
    context.run(CALLER.set, client)
    return asyncio.get_running_loop().create_task(asked(), context=context)


def value_of(gauge: Gauge) -> float:
    return float(gauge._value.get())


def decoded(engine: Engine, num: int, seed: int = 0, max_tokens: int = 16) -> Callable[[], Awaitable[Any]]:
    decodings = [Decoding(strategy=Strategy.SAMPLE, seed=number, max_tokens=max_tokens) for number in range(num)]
    return lambda: engine.decode(latents(num, 0, seed), 0, decodings, deadline_s=300)


def encoded(engine: Engine, num: int, seed: int = 0) -> Callable[[], Awaitable[Any]]:
    return lambda: engine.encode(made_texts(num, seed), [0] * num, deadline_s=300)


@asynccontextmanager
async def held(engine: Engine) -> AsyncIterator[None]:
    """What is asked within is there before any of it is begun."""
    begun, go_on = on_the_device(engine)
    first = asyncio.ensure_future(engine.encode([[1]], [0], deadline_s=300))
    await until(begun.is_set, 60)
    yield
    await asyncio.sleep(0)
    go_on.set()
    await first


class Stepped:
    """Steps of an engine, each of which waits until the test lets it go on."""

    def __init__(self, engine: Engine) -> None:
        self._scheduler, self._may_go_on = engine._scheduler, threading.Semaphore(0)
        self._num_done, self._step = 0, engine._scheduler.step
        engine._scheduler.step = self._stepped  # type: ignore[method-assign]

    def _stepped(self) -> list[Done]:
        assert self._may_go_on.acquire(timeout=60)
        done = self._step()
        self._num_done += 1
        return done

    async def go_on(self, num: int) -> None:
        """Returns after so many steps."""
        wanted = self._num_done + num
        for _ in range(num):
            self._may_go_on.release()
        await until(lambda: self._num_done == wanted, 60)

    def end(self) -> None:
        self._scheduler.step = self._step  # type: ignore[method-assign]
        self._may_go_on.release()


@pytest.mark.asyncio
@pytest.mark.parametrize("num_steps_before", [0, 3])
@pytest.mark.parametrize("kind", ["decode", "beam", "encode"])
async def test_rows_that_nobody_waits_for_are_gone_within_two_steps(kind: str, num_steps_before: int) -> None:
    """A client that was cut off was refused (429) until its turn had come for the last row that nobody waited for."""
    strategy = Strategy.BEAM if kind == "beam" else Strategy.SAMPLE
    decodings = [Decoding(strategy=strategy, seed=number, num_beams=2, max_tokens=16) for number in range(300)]

    def ask(engine: Engine) -> Callable[[], Awaitable[Any]]:
        if kind == "encode":
            return encoded(engine, 300)
        return lambda: engine.decode(latents(300, 0), 0, decodings, deadline_s=300)

    async with running(replace(ROOMY, max_queued_rows=300)) as engine:
        steps = Stepped(engine)
        asked = [on_behalf_of(client, ask(engine)) for client in ("busy", "gone")]
        await asyncio.sleep(0)
        await steps.go_on(num_steps_before)
        asked[1].cancel()
        await asyncio.wait(asked[1:])
        await steps.go_on(2)
        assert engine._scheduler.num_waiting_of("gone") == 0 < engine._scheduler.num_waiting_of("busy")
        again = on_behalf_of("gone", ask(engine))
        await asyncio.sleep(0)
        assert not again.done()
        for each in (asked[0], again):
            each.cancel()
        steps.end()
        await asyncio.wait((asked[0], again))


@pytest.mark.asyncio
@pytest.mark.parametrize("small", ["small", "greedy"], ids=["other client", "same client"])
@pytest.mark.parametrize("kind", ["decode", "encode"])
async def test_a_short_request_overtakes_a_long_one(small: str, kind: str) -> None:
    """One request of 256 long texts kept everybody's texts waiting for 21 to 33 s, 32 large decodes for 58 s."""
    async with running(ROOMY) as engine:
        async with held(engine):
            long = on_behalf_of("greedy", decoded(engine, 100) if kind == "decode" else encoded(engine, 1500))
            await asyncio.sleep(0)
            asked = [on_behalf_of(small, ask) for ask in (decoded(engine, 1), encoded(engine, 2))]
        await asyncio.gather(*asked)
        assert not long.done()
        long.cancel()


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["decode", "encode"])
async def test_long_requests_of_two_clients_go_on_side_by_side(kind: str) -> None:
    async with running(ROOMY) as engine:
        ask, few, many = (decoded, 30, 250) if kind == "decode" else (encoded, 60, 1500)
        async with held(engine):
            long = on_behalf_of("greedy", ask(engine, many))
            await asyncio.sleep(0)
            modest = on_behalf_of("modest", ask(engine, few))
        await modest
        assert not long.done()
        long.cancel()


@pytest.mark.asyncio
async def test_a_crowd_of_short_requests_keeps_another_client_waiting_for_few_of_them() -> None:
    async with running(ROOMY) as engine:
        async with held(engine):
            crowd = [on_behalf_of("greedy", decoded(engine, 1, seed)) for seed in range(120)]
            await asyncio.sleep(0)
            small = on_behalf_of("small", decoded(engine, 1))
        await small
        assert sum(each.done() for each in crowd) < 60
        for each in crowd:
            each.cancel()


@pytest.mark.asyncio
async def test_what_is_long_goes_on_beside_short_requests_that_do_not_end() -> None:
    async with running(ROOMY) as engine:
        long = on_behalf_of("greedy", decoded(engine, 30))
        texts = on_behalf_of("greedy", encoded(engine, 60))
        while not (long.done() and texts.done()):
            await on_behalf_of("small", decoded(engine, 2, max_tokens=5))


@pytest.mark.asyncio
async def test_answers_are_the_same_alone_and_in_any_company() -> None:
    async with running(ROOMY) as engine:
        tokens = [row.token_ids for row in await decoded(engine, 20)()]
        posteriors = await encoded(engine, 100)()
        others = [
            on_behalf_of(f"client {number}", ask)
            for number, ask in enumerate(
                [decoded(engine, 3, 5), encoded(engine, 60, 6), decoded(engine, 12, 7), encoded(engine, 1, 8)]
            )
        ]
        beside, texts = on_behalf_of("a", decoded(engine, 20)), on_behalf_of("b", encoded(engine, 100))
        assert [row.token_ids for row in await beside] == tokens
        for posterior, expected in zip(await texts, posteriors, strict=True):
            np.testing.assert_allclose(posterior.mu, expected.mu, atol=1e-5, rtol=0)
        for number in range(4):
            z = latents(20, 0)[number : number + 1]
            decoding = Decoding(strategy=Strategy.SAMPLE, seed=number, max_tokens=16)
            alone = await engine.decode(z, 0, [decoding], deadline_s=300)
            assert alone[0].token_ids == tokens[number]
        await asyncio.gather(*others)


@pytest.mark.asyncio
async def test_a_full_queue_is_one_clients_own_and_all_together_have_a_limit_too() -> None:
    limits = EngineLimits(encode_batch_tokens=256, decode_rows=8, max_tokens=16, max_queued_rows=30)
    async with running(limits) as engine:
        async with held(engine):
            full = [on_behalf_of(client, encoded(engine, 30)) for client in ("a", "b", "c")]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="30 rows are waiting and the request has 1; the queue takes 30 "):
                await on_behalf_of("a", encoded(engine, 1))
            full.append(on_behalf_of("d", encoded(engine, 28)))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match="119 rows are waiting and the request has 2; the queue takes 120 "):
                await on_behalf_of("e", encoded(engine, 2))
        await asyncio.gather(*full)
        await on_behalf_of("a", encoded(engine, 1))


@pytest.mark.asyncio
async def test_gauges_are_at_rest_once_everybody_has_left() -> None:
    """After a client had gone away in the midst of 64 rows, the gauge stood at 64 for ever."""
    async with running(LIMITS) as engine:
        asked = [on_behalf_of("a", decoded(engine, 64)), on_behalf_of("b", encoded(engine, 100))]
        asked.append(on_behalf_of("c", decoded(engine, 2)))
        await until(lambda: value_of(engine.metrics.decode_rows) > 0, 60)
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await until(lambda: not engine._scheduler.has_work, 60)
        await until(lambda: value_of(engine.metrics.decode_rows) == value_of(engine.metrics.queue_rows) == 0, 60)


@pytest.mark.asyncio
async def test_a_beam_search_costs_its_client_as_many_turns_as_it_has_beams() -> None:
    async with running() as engine:
        lane = Scheduler(engine.vae, LIMITS, Metrics()).long
    for client, num_beams in (("narrow", 2), ("wide", 10)):
        ticket: Ticket[Any] = Ticket(30, client=client)
        decoding = Decoding(strategy=Strategy.BEAM, num_beams=num_beams, max_tokens=8)
        for number in range(30):
            lane.put(DecodeRow(ticket, number, torch.from_numpy(latents(1, 0)[0]), 0, decoding))
    taken = [row.ticket.client for _ in range(24) if (row := lane.beaming.take()) is not None]
    assert (taken.count("narrow"), taken.count("wide")) == (20, 4)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.asyncio
async def test_long_work_has_a_third_of_the_time_beside_short_work_and_all_of_it_alone() -> None:
    async with running() as engine:
        clock = Clock()
        scheduler = Scheduler(engine.vae, LIMITS, Metrics(), clock)
    times = {"short": 0.0, "long": 0.0}

    def taking(lane: str, seconds: float) -> Callable[[int], list[Any]]:
        def step(_max_tokens: int) -> list[Any]:
            clock.now += seconds
            times[lane] += seconds
            return []

        return step

    scheduler.short.encode = taking("short", 0.01)  # type: ignore[method-assign]
    scheduler.long.encode = taking("long", 0.2)  # type: ignore[method-assign]
    short: Ticket[Any] = Ticket(1, client="a")
    scheduler.accept(EncodeRow(Ticket(1, client="b", is_long=True), 0, [1], 0))
    scheduler.accept(EncodeRow(short, 0, [1], 0))
    for _ in range(2000):
        scheduler.step()
    assert 0.3 < times["long"] / (times["short"] + times["long"]) < 0.36
    scheduler.short.encoding.take()
    before = dict(times)
    for _ in range(10):
        scheduler.step()
    assert times["long"] - before["long"] == pytest.approx(2.0)


def in_turns(clock: Clock, done: list[str]) -> Callable[[str, float], Callable[..., list[Any]]]:
    """Steps that only take their time."""

    def taking(kind: str, seconds: float) -> Callable[..., list[Any]]:
        def step(*_: Any) -> list[Any]:
            clock.now += seconds
            done.append(kind)
            return []

        return step

    return taking


async def kinds_of_steps(*asked: tuple[str, str, float], limits: EngineLimits = ROOMY, num: int = 300) -> list[str]:
    """What the short lane does with one row of each (kind, client, due), which none of it ends; a step takes 0.01 s."""
    async with running() as engine:
        clock, done = Clock(), list[str]()
        scheduler = Scheduler(engine.vae, limits, Metrics(), clock)
    taking = in_turns(clock, done)
    for kind, client, due in asked:
        ticket: Ticket[Any] = Ticket(1, client=client, due=due)
        z = torch.from_numpy(latents(1, 0)[0])
        works: dict[str, Work] = {
            "encode": EncodeRow(ticket, 0, [1], 0),
            "decode": DecodeRow(ticket, 0, z, 0, Decoding(max_tokens=8)),
            "call": Call(ticket, int),
        }
        scheduler.accept(works[kind])
    scheduler.short.encode = taking("encode", 0.01)  # type: ignore[method-assign]
    scheduler.short.decode = taking("decode", 0.01)  # type: ignore[method-assign]
    scheduler.short.call = taking("call", 0.01)  # type: ignore[method-assign]
    for _ in range(num):
        scheduler.step()
    return done


@pytest.mark.asyncio
@pytest.mark.parametrize("first", ["encode", "decode"])
async def test_what_is_overdue_of_a_client_alone_goes_on_before_what_is_due_later(first: str) -> None:
    second = "decode" if first == "encode" else "encode"
    kinds = await kinds_of_steps((first, "a", 1.0), (second, "a", 1.5))
    assert abs(kinds[:100].count("encode") - 50) <= 1
    assert set(kinds[102:]) == {first}


@pytest.mark.asyncio
async def test_beside_another_client_encoding_and_decoding_have_equal_shares_however_late_they_are() -> None:
    kinds = await kinds_of_steps(("encode", "a", 1.0), ("decode", "b", 1.5))
    assert abs(kinds.count("encode") - 150) <= 1


@pytest.mark.asyncio
async def test_in_a_queue_that_fills_up_short_requests_keep_their_share() -> None:
    """Of what came at four times the peak, a sixth less was answered where the overdue went first."""
    limits = EngineLimits(encode_batch_tokens=256, decode_rows=8, max_tokens=16, max_queued_rows=1)
    kinds = await kinds_of_steps(("encode", "a", 1.5), ("decode", "a", 1.0), limits=limits)
    assert abs(kinds.count("encode") - 150) <= 1


def test_steps_out_of_turn_are_not_paid_back() -> None:
    clock, done = Clock(), list[str]()
    shares: TimeShares[str] = TimeShares(clock)
    taking = in_turns(clock, done)
    tasks = {kind: Task(1, taking(kind, 0.01)) for kind in ("encode", "decode")}
    for _ in range(100):
        shares.step(tasks, "decode")
    assert done == ["decode"] * 100
    for _ in range(10):
        shares.step(tasks)
    assert done[100:].count("encode") == 5


@pytest.mark.asyncio
async def test_every_part_of_a_request_is_as_old_as_the_whole() -> None:
    """A walk's later parts stood behind all that had come since it began: some took three times the median."""
    async with running(ROOMY) as engine:
        async with held(engine):
            context = copy_context()
            context.run(SINCE.set, 1000.0)
            first = context.run(on_behalf_of, "a", encoded(engine, 2))
            await asyncio.sleep(0)
            (ticket,) = {work.ticket for work in engine._inbox}
            num_tokens = sum(len(row.token_ids) for row in engine._inbox if isinstance(row, EncodeRow))
            assert ticket.due == due_at(1000.0, num_tokens)
            second = context.run(on_behalf_of, "a", decoded(engine, 3, max_tokens=7))
            await asyncio.sleep(0)
            assert engine._inbox[-1].ticket.due == due_at(1000.0, 21)
        await asyncio.gather(first, second)


@pytest.mark.asyncio
async def test_a_request_is_due_by_what_texts_of_its_set_take_and_not_by_what_they_may() -> None:
    """Analogies whose texts ended at a quarter of their limit stood behind four times the work that they were."""
    async with running(ROOMY) as engine:
        lengths, decoding = TextLengths(), Decoding(max_tokens=16)
        for generated in await decoded(engine, 20)():
            lengths.learn(0, len(generated.token_ids), is_whole=generated.finish_reason == "stop")
        expected = lengths.expected(0, decoding)
        assert 0 < expected < decoding.max_tokens  # or it would say nothing
        async with held(engine):
            context = copy_context()
            context.run(SINCE.set, 1000.0)
            waiting = context.run(on_behalf_of, "a", decoded(engine, 3))
            await asyncio.sleep(0)
            assert engine._inbox[-1].ticket.due == pytest.approx(due_at(1000.0, 3 * expected))
            assert engine._inbox[-1].work == pytest.approx(expected)
        await waiting
        await engine.load(0, tiny_set(VARIANTS[0], 7))
        assert engine._lengths.expected(0, decoding) == 16  # of another set nothing is known


@pytest.mark.asyncio
@pytest.mark.parametrize(("num", "max_tokens", "is_long"), [(8, 16, False), (9, 11, False), (9, 12, True)])
async def test_long_is_what_is_expected_to_take_long(
    monkeypatch: pytest.MonkeyPatch, num: int, max_tokens: int, is_long: bool
) -> None:
    """A walk of nine sentences had a third of the time, however short they were."""
    monkeypatch.setattr(engine_module, "SHORT_TEXTS_TOKENS", 100)
    async with running(ROOMY) as engine:
        async with held(engine):
            waiting = on_behalf_of("a", decoded(engine, num, max_tokens=max_tokens))
            await asyncio.sleep(0)
            assert engine._inbox[-1].ticket.is_long is is_long
        await waiting


async def idle_scheduler() -> tuple[Scheduler, Clock]:
    """Over an engine that has stopped, by a clock that only the test moves."""
    async with running() as engine:
        clock = Clock()
        return Scheduler(engine.vae, ROOMY, Metrics(), clock), clock


def asked_for(client: str, done: list[str], clock: Clock, *, is_long: bool = False, is_given_up: bool = False) -> Call:
    """A call that takes 0.01 s."""
    ticket: Ticket[Any] = Ticket(1, client=client, is_long=is_long)
    ticket.is_abandoned = is_given_up

    def run() -> None:
        clock.now += 0.01
        done.append(client)

    return Call(ticket, run)


@pytest.mark.asyncio
async def test_a_clients_calls_keep_another_client_waiting_for_few_of_them() -> None:
    """All were run before anything else, in the order they had come: 400 draws of one client held everybody up."""
    scheduler, clock = await idle_scheduler()
    done: list[str] = []
    scheduler.short.encode = in_turns(clock, done)("encoded", 0.01)  # type: ignore[method-assign]
    for _ in range(100):
        scheduler.accept(asked_for("greedy", done, clock))
    scheduler.accept(asked_for("polite", done, clock))
    scheduler.accept(EncodeRow(Ticket(1, client="polite"), 0, [1], 0))
    for _ in range(8):
        scheduler.step()
    assert done.index("polite") <= 3
    assert done.index("encoded") <= 3
    assert abs(done.count("encoded") - 4) <= 1


@pytest.mark.asyncio
async def test_long_calls_have_a_third_of_the_time_beside_short_ones() -> None:
    scheduler, clock = await idle_scheduler()
    done: list[str] = []
    for _ in range(20):
        scheduler.accept(asked_for("long", done, clock, is_long=True))
        scheduler.accept(asked_for("short", done, clock))
    while scheduler.has_work:
        scheduler.step()
    assert done[0] == "short"
    assert 8 <= done[:30].count("long") <= 12
    assert done[31:] == ["long"] * 9


@pytest.mark.asyncio
async def test_a_call_that_nobody_waits_for_is_never_run() -> None:
    """They stayed, and were run: a client that had been cut off held everybody up for as long as it had asked for."""
    scheduler, clock = await idle_scheduler()
    done: list[str] = []
    calls = [asked_for("gone", done, clock, is_long=number % 2 == 0) for number in range(6)]
    for call in (*calls, asked_for("abandoned", done, clock, is_given_up=True), asked_for("here", done, clock)):
        scheduler.accept(call)
    for call in calls:
        scheduler.forget(call.ticket)
    scheduler.step()
    assert done == ["here"]
    assert not scheduler.has_work


@pytest.mark.asyncio
async def test_what_the_engine_needs_for_itself_is_done_before_the_next_step() -> None:
    scheduler, clock = await idle_scheduler()
    done: list[str] = []
    for _ in range(5):
        scheduler.accept(asked_for("asked", done, clock))
    for number in range(3):
        scheduler.accept(HouseCall(Ticket(1), lambda number=number: done.append(f"house {number}")))
    scheduler.step()
    assert done == ["house 0", "house 1", "house 2", "asked"]


@pytest.mark.asyncio
async def test_a_call_of_a_client_alone_is_done_before_what_is_due_later() -> None:
    """Rows to be decoded come of it, and the more of them go side by side the better."""
    kinds = await kinds_of_steps(("encode", "a", 1.0), ("decode", "a", 1.5), ("call", "a", 0.5))
    assert set(kinds[153:]) == {"call"}


@pytest.mark.asyncio
async def test_beside_another_client_calls_have_a_share_like_encoding_and_decoding() -> None:
    kinds = await kinds_of_steps(("encode", "a", 1.0), ("decode", "b", 1.5), ("call", "b", 0.5))
    assert all(abs(kinds.count(kind) - 100) <= 1 for kind in ("encode", "decode", "call"))
