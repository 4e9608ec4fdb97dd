"""Jobs that crash rest."""

from adavae.service.jobs.worker.resting import Resting


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_crash_makes_the_rest_longer_up_to_a_minute() -> None:
    clock, rests = Clock(), []
    resting = Resting(clock)
    for _ in range(8):
        resting.note("job", has_crashed=True)
        began = clock.now
        while resting.is_resting("job"):
            clock.now += 1
        rests.append(clock.now - began)
    assert rests == [2, 4, 8, 16, 32, 60, 60, 60]


def test_an_attempt_that_ends_well_begins_the_count_anew() -> None:
    clock = Clock()
    resting = Resting(clock)
    resting.note("job", has_crashed=True)
    resting.note("job", has_crashed=True)
    resting.note("job", has_crashed=False)
    assert not resting.is_resting("job")
    resting.note("job", has_crashed=True)
    clock.now += 2
    assert not resting.is_resting("job")


def test_other_jobs_do_not_rest() -> None:
    resting = Resting(Clock())
    resting.note("job", has_crashed=True)
    assert resting.is_resting("job") and not resting.is_resting("another")
