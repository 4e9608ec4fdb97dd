"""A caller that is cancelled while it waits stays cancelled, and what it waited for has ended."""

import asyncio

import pytest

from adavae.service.tasks import end, until_done


class Tidying:
    """Work that takes its time to tidy up once it is cancelled."""

    def __init__(self) -> None:
        self.has_begun, self.may_end, self.is_tidy = asyncio.Event(), asyncio.Event(), False
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.has_begun.set()
            await self.may_end.wait()
            self.is_tidy = True


@pytest.mark.asyncio
@pytest.mark.parametrize("times", [1, 3])
async def test_who_is_cancelled_while_others_tidy_up_stays_cancelled(times: int) -> None:
    """It was swallowed: a request that was cut off at this moment went on until its deadline."""
    first, second = Tidying(), Tidying()
    await asyncio.sleep(0)
    caller = asyncio.ensure_future(end(first.task, second.task))
    await first.has_begun.wait()
    for _ in range(times):
        caller.cancel()
        await asyncio.sleep(0)
    first.may_end.set()
    await asyncio.wait((first.task,))
    await asyncio.sleep(0)
    assert not caller.done()
    second.may_end.set()
    await asyncio.wait((caller,))
    assert caller.cancelled()
    assert first.is_tidy and second.is_tidy


@pytest.mark.asyncio
async def test_what_ended_by_itself_is_no_error_of_the_callers() -> None:
    async def fails() -> None:
        raise ValueError("nobody asks")

    failing, done = asyncio.ensure_future(fails()), asyncio.ensure_future(asyncio.sleep(0, "a result"))
    await until_done(failing, done)
    await end(failing, done)
    assert isinstance(failing.exception(), ValueError)
    assert done.result() == "a result"
