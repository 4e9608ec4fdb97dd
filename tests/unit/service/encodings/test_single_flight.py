"""Identical keys in flight are computed once, and nobody fails because of someone else."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from adavae.service.encodings.single_flight import SingleFlight
from adavae.service.errors import EngineStopped
from adavae.service.results import Encoding


def _encoding(key: str) -> Encoding:
    mu = np.frombuffer(key.encode().ljust(8), np.uint8).astype(np.float32)
    return Encoding(mu, -mu, len(key), False)


class _Computation:
    """A compute function that waits for ``gate`` where it has one, then fails with ``error`` where it has one."""

    def __init__(self, gate: asyncio.Event | None = None, error: Exception | None = None) -> None:
        self.calls: list[list[str]] = []
        self.started = asyncio.Event()
        self._gate, self._error = gate, error

    async def __call__(self, keys: list[str]) -> list[Encoding]:
        self.calls.append(keys)
        self.started.set()
        if self._gate is not None:
            await self._gate.wait()
        if self._error is not None:
            raise self._error
        return [_encoding(key) for key in keys]


def _is_right(found: list[Encoding], keys: list[str]) -> bool:
    return [encoding.mu.tobytes() for encoding in found] == [_encoding(key).mu.tobytes() for key in keys]


async def _settle() -> None:
    """Lets every task run until it waits for something that only the test can give."""
    for _ in range(20):
        await asyncio.sleep(0)


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Runs with the loop's error handler as a witness: no future's error may go unread."""

    async def witnessed() -> None:
        complaints: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await scenario()
        await _settle()
        assert complaints == []

    asyncio.run(witnessed())


def test_a_request_names_each_key_once_and_gets_one_answer_a_text() -> None:
    async def scenario() -> None:
        flights, compute = SingleFlight(), _Computation()
        assert _is_right(await flights.gather(["a", "b", "a"], compute), ["a", "b", "a"])
        assert compute.calls == [["a", "b"]]
        assert await flights.gather([], compute) == []
        assert len(compute.calls) == 1
        assert len(flights) == 0

    _run(scenario)


def test_requests_at_once_compute_each_key_once() -> None:
    async def scenario() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        compute = _Computation(gate)
        requests = [["a", "b"], ["b", "c"], ["c", "a", "d"], ["b", "a"]]
        tasks = [asyncio.create_task(flights.gather(keys, compute)) for keys in requests]
        await _settle()
        assert compute.calls == [["a", "b"], ["c"], ["d"]]
        gate.set()
        for keys, found in zip(requests, await asyncio.gather(*tasks), strict=True):
            assert _is_right(found, keys)
        assert len(flights) == 0

    _run(scenario)


def test_a_small_request_waits_for_no_larger_one() -> None:
    """A text that was one of another client's 256 waited for all of these: 2.4 s in place of 0.01 s."""

    async def scenario() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        large, small = _Computation(gate), _Computation()
        greedy = asyncio.create_task(flights.gather(["a", "b", "c"], large))
        await large.started.wait()
        assert _is_right(await flights.gather(["b"], small), ["b"])
        assert _is_right(await flights.gather(["c", "a"], small), ["c", "a"])
        assert small.calls == [["b"], ["c", "a"]]
        gate.set()
        assert _is_right(await greedy, ["a", "b", "c"])
        assert len(flights) == 0

    _run(scenario)


def test_how_large_a_request_is_depends_on_its_texts() -> None:
    async def scenario() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        compute = _Computation(gate)
        sizes = {"long": 1000, "a": 10, "b": 10, "c": 10}
        for keys in (["long", "a"], ["a", "b", "c"], ["a", "b"], ["b", "a"], ["a"]):
            wanted = {key: sizes[key] for key in keys}
            asyncio.create_task(flights.gather(keys, compute, sizes=wanted))  # noqa: RUF006
            await _settle()
        assert compute.calls == [["long", "a"], ["a", "b", "c"], ["a", "b"], ["a"]]
        gate.set()
        await _settle()
        assert len(flights) == 0

    _run(scenario)


def test_nobody_waits_for_another_clients_turn() -> None:
    async def scenario() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        waiting, compute = _Computation(gate), _Computation()
        greedy = asyncio.create_task(flights.gather(["a"], waiting, client="greedy"))
        again = asyncio.create_task(flights.gather(["a"], waiting, client="greedy"))
        await waiting.started.wait()
        assert _is_right(await flights.gather(["a"], compute, client="small"), ["a"])
        gate.set()
        assert _is_right(await greedy, ["a"])
        assert _is_right(await again, ["a"])
        assert (waiting.calls, compute.calls) == ([["a"]], [["a"]])
        assert len(flights) == 0

    _run(scenario)


def test_later_requests_compute_again() -> None:
    """What has landed is the cache's to remember."""

    async def scenario() -> None:
        flights, compute = SingleFlight(), _Computation()
        await flights.gather(["a"], compute)
        await flights.gather(["a"], compute)
        assert compute.calls == [["a"], ["a"]]

    _run(scenario)


def test_two_requests_that_wait_for_each_other_both_end() -> None:
    async def scenario() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        first, second = _Computation(gate), _Computation(gate)
        one = asyncio.create_task(flights.gather(["a"], first))
        await first.started.wait()
        two = asyncio.create_task(flights.gather(["b", "a"], second))
        await second.started.wait()
        three = asyncio.create_task(flights.gather(["b", "a", "c"], second))
        await _settle()
        gate.set()
        assert _is_right(await one, ["a"])
        assert _is_right(await two, ["b", "a"])
        assert _is_right(await three, ["b", "a", "c"])

    _run(scenario)


def test_a_cancelled_leader_is_followed_by_the_first_who_waited() -> None:
    async def scenario() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        lost, taken_over = _Computation(gate), _Computation(gate)
        leader = asyncio.create_task(flights.gather(["a", "b"], lost))
        await lost.started.wait()
        followers = [asyncio.create_task(flights.gather(["a", "b"], taken_over)) for _ in range(5)]
        await _settle()
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        await _settle()
        gate.set()
        for found in await asyncio.gather(*followers):
            assert _is_right(found, ["a", "b"])
        assert taken_over.calls == [["a", "b"]]
        assert len(flights) == 0

    _run(scenario)


def test_a_cancelled_follower_disturbs_neither_its_leader_nor_the_other_followers() -> None:
    async def scenario() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        compute = _Computation(gate)
        tasks = [asyncio.create_task(flights.gather(["a"], compute)) for _ in range(3)]
        await _settle()
        tasks[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[1]
        gate.set()
        assert _is_right(await tasks[0], ["a"])
        assert _is_right(await tasks[2], ["a"])
        assert compute.calls == [["a"]]

    _run(scenario)


def test_a_failed_leader_has_its_own_error_and_followers_compute_for_themselves() -> None:
    async def scenario() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        failing = _Computation(gate, EngineStopped("the device thread died"))
        compute = _Computation()
        leader = asyncio.create_task(flights.gather(["a", "b"], failing))
        await failing.started.wait()
        followers = [asyncio.create_task(flights.gather(keys, compute)) for keys in (["a", "c"], ["b", "d"])]
        await _settle()
        assert compute.calls == [["c"], ["d"]]
        gate.set()
        with pytest.raises(EngineStopped):
            await leader
        assert _is_right(await followers[0], ["a", "c"])
        assert _is_right(await followers[1], ["b", "d"])
        assert len(flights) == 0

    _run(scenario)


def test_an_error_that_lasts_reaches_everyone_after_one_try_of_their_own() -> None:
    async def scenario() -> None:
        flights, gate = SingleFlight(), asyncio.Event()
        computations = [_Computation(gate, EngineStopped(f"error {number}")) for number in range(4)]
        tasks = [asyncio.create_task(flights.gather(["a"], compute)) for compute in computations]
        await _settle()
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(result) for result in results] == [f"error {number}" for number in range(4)]
        assert [compute.calls for compute in computations] == [[["a"]]] * 4
        assert len(flights) == 0

    _run(scenario)


def test_a_failure_nobody_waits_for_leaves_no_complaint() -> None:
    async def scenario() -> None:
        flights = SingleFlight()
        with pytest.raises(EngineStopped):
            await flights.gather(["a"], _Computation(error=EngineStopped("gone")))
        assert len(flights) == 0

    _run(scenario)


def test_a_computation_that_answers_too_few_fails_its_caller_and_leaves_nothing_in_the_air() -> None:
    async def scenario() -> None:
        async def short(keys: list[str]) -> list[Encoding]:
            return [_encoding(keys[0])]

        flights = SingleFlight()
        with pytest.raises(ValueError, match="shorter"):
            await flights.gather(["a", "b"], short)
        assert len(flights) == 0

    _run(scenario)


def test_a_storm_of_cancelled_and_failing_requests_ends_with_right_answers_for_the_rest() -> None:
    async def scenario() -> None:
        flights = SingleFlight()
        randomness = np.random.default_rng(7)

        async def request(number: int) -> list[Encoding]:
            async def compute(keys: list[str]) -> list[Encoding]:
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                if number % 7 == 0:
                    raise EngineStopped("planted")
                return [_encoding(key) for key in keys]

            return await flights.gather(wanted[number], compute)

        wanted = [[str(key) for key in randomness.integers(0, 6, 3)] for _ in range(400)]
        tasks = [asyncio.create_task(request(number)) for number in range(400)]
        for number in range(0, 400, 3):
            await asyncio.sleep(0)
            tasks[number].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, result in enumerate(results):
            if isinstance(result, list):
                assert _is_right(result, wanted[number])
            else:
                assert number % 3 == 0 if isinstance(result, asyncio.CancelledError) else number % 7 == 0
        assert sum(isinstance(result, list) for result in results) > 200
        assert len(flights) == 0

    _run(scenario)
