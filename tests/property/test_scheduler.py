"""Whatever is taken from a queue of the scheduler is answered once, is running, or stands in the queue again."""

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adavae.model.adavae import AdaVAE
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.service.engine.decode_batch import DecodeRow
from adavae.service.engine.scheduler import Scheduler
from adavae.service.engine.ticket import Ticket
from adavae.service.engine.work import Call, EncodeRow, EngineLimits, HouseCall, Work
from adavae.service.metrics import Metrics
from tests.tiny import VARIANTS, mixed_bank, tiny_backbone

_LIMITS = EngineLimits(encode_batch_tokens=12, decode_rows=5, max_tokens=4)
_DECODINGS = (
    Decoding(max_tokens=3),
    Decoding(strategy=Strategy.SAMPLE, seed=3, max_tokens=4),
    Decoding(repetition_penalty=1.8, max_tokens=2),
    Decoding(strategy=Strategy.BEAM, num_beams=2, max_tokens=3),
)
_TOO_WIDE = 99  # numbers of a latent vector that no bank here has room for
_NO_TOKEN = 10_000


@dataclass(frozen=True, slots=True)
class Planned:
    """One piece of work of a made-up request, and what is wrong with it."""

    kind: int  # one of _DECODINGS, or a text to encode, or a call
    slot: int
    fails: bool
    is_given_up: bool
    step: int  # before which it arrives
    client: str
    is_long: bool


_PLANS = st.lists(
    st.builds(
        Planned,
        kind=st.integers(0, len(_DECODINGS) + 1),
        slot=st.integers(0, len(VARIANTS) - 1),
        fails=st.booleans(),
        is_given_up=st.sampled_from((False, False, False, True)),
        step=st.integers(0, 3),
        client=st.sampled_from(("a", "b", "c")),
        is_long=st.booleans(),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=60, deadline=None)
@given(plans=_PLANS)
def test_every_row_is_answered_once_or_running_or_queued(plans: list[Planned]) -> None:
    """A beam row that failed to join took the rows with it that were chosen before: their callers waited for ever."""

    async def run() -> None:
        scheduler = Scheduler(_vae(), _LIMITS, Metrics())
        pieces = [_piece(plan, number) for number, plan in enumerate(plans)]
        given_up = {number for number, plan in enumerate(plans) if plan.is_given_up and not _is_house_call(plan)}
        answers: dict[int, Any] = {}
        for step in range(100):
            for plan, piece in zip(plans, pieces, strict=True):
                if plan.step == step:
                    scheduler.accept(piece)
            for ticket, _, answer in scheduler.step():
                number = next(number for number, piece in enumerate(pieces) if piece.ticket is ticket)
                assert number not in answers
                answers[number] = answer
            arrived = {number for number, plan in enumerate(plans) if plan.step <= step}
            inside = _numbers_inside(scheduler, pieces)
            assert len(inside) == len(set(inside)) and not set(inside) & answers.keys()
            assert arrived - given_up == (set(inside) | answers.keys()) - given_up
        assert not scheduler.has_work
        assert answers.keys() >= set(range(len(plans))) - given_up
        for number, answer in answers.items():
            assert isinstance(answer, Exception) is plans[number].fails, answer

    asyncio.run(run())


@cache
def _vae() -> AdaVAE:
    return AdaVAE(tiny_backbone(), mixed_bank()[0])


def _is_call(plan: Planned) -> bool:
    return plan.kind == len(_DECODINGS) + 1


def _is_house_call(plan: Planned) -> bool:
    return _is_call(plan) and plan.slot == 0


def _piece(plan: Planned, number: int) -> Work:
    ticket: Ticket[Any] = Ticket(1, client=plan.client, is_long=plan.is_long)
    if _is_call(plan):
        run = _failing if plan.fails else int
        if _is_house_call(plan):
            return HouseCall(ticket, run, needs_empty_decode=True)
        ticket.is_abandoned = plan.is_given_up
        return Call(ticket, run)
    ticket.is_abandoned = plan.is_given_up
    if plan.kind == len(_DECODINGS):
        return EncodeRow(ticket, number, [1, 2, _NO_TOKEN if plan.fails else 3], plan.slot)
    z = torch.zeros(_TOO_WIDE if plan.fails else VARIANTS[plan.slot].latent_size)
    return DecodeRow(ticket, number, z, plan.slot, _DECODINGS[plan.kind])


def _failing() -> None:
    raise ValueError("planted")


def _numbers_inside(scheduler: Scheduler, pieces: list[Work]) -> list[int]:
    """Of the work that is queued or running."""
    inside: list[Work] = [*scheduler.house_calls]
    for lane in scheduler.lanes:
        inside += [*lane.encoding, *lane.decoding, *lane.beaming, *lane.calls, *lane.batch.rows]
    return [pieces.index(piece) for piece in inside]
