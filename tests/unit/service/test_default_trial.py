"""Readiness tells what requests without an adapter set would be answered with, and costs nothing to ask for."""

import asyncio

import pytest

from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, AdaVAEError, WeightsCorrupted
from adavae.service.default_trial import DefaultTrial
from adavae.service.errors import DeadlineExceeded, EngineStopped, Overloaded


class Attempt:
    """The request that is tried."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.num = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self) -> None:
        self.num += 1
        await self.may_end.wait()
        if self.error is not None:
            raise self.error


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "error",
    [AdaVAEError("the encoder's output is not finite"), WeightsCorrupted("yelp is damaged"), RuntimeError("lost")],
)
async def test_a_fault_of_the_server_is_reported_until_it_is_over(error: Exception) -> None:
    attempt = Attempt()
    trial = DefaultTrial(attempt, fresh_s=0.0)
    attempt.error = error
    problem = await trial.problem()
    assert problem is not None and str(error) in problem
    attempt.error = None
    assert await trial.problem() is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "error", [AdapterSetNotFound("none"), AdapterSetMismatch("another backbone"), Overloaded("all slots in use")]
)
async def test_that_there_is_no_default_or_that_all_is_busy_is_no_fault(error: Exception) -> None:
    """A service over a backbone of one's own has to be ready before the first set is trained by it."""
    attempt = Attempt()
    attempt.error = error
    assert await DefaultTrial(attempt).problem() is None


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [DeadlineExceeded(10.0), EngineStopped("starting again")])
@pytest.mark.parametrize("before", [None, WeightsCorrupted("damaged")])
async def test_a_trial_without_an_outcome_leaves_the_verdict_as_it_was(
    error: Exception, before: Exception | None
) -> None:
    attempt = Attempt()
    trial = DefaultTrial(attempt, fresh_s=0.0)
    attempt.error = before
    verdict = await trial.problem()
    attempt.error = error
    assert await trial.problem() == verdict


@pytest.mark.asyncio
async def test_a_hundred_askers_make_one_request() -> None:
    attempt = Attempt()
    trial = DefaultTrial(attempt, fresh_s=60.0)
    assert await asyncio.gather(*(trial.problem() for _ in range(100))) == [None] * 100
    assert await trial.problem() is None
    assert attempt.num == 1


@pytest.mark.asyncio
async def test_nobody_waits_for_a_trial_that_hangs() -> None:
    attempt = Attempt()
    trial = DefaultTrial(attempt, fresh_s=0.0, patience_s=0.001)
    attempt.may_end.clear()
    assert await trial.problem() == "the default adapter set is being tried"
    assert await trial.problem() == "the default adapter set is being tried"
    assert attempt.num == 1
    await trial.stop()
    attempt.may_end.set()
    assert await trial.problem() is None or await asyncio.wait_for(_until_tried(trial), 60) is None


async def _until_tried(trial: DefaultTrial) -> None:
    while await trial.problem() is not None:
        await asyncio.sleep(0.001)
