"""Continuous decoding: every row's text is the one it has alone, whoever joins, leaves or fails beside it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from adavae.model.adavae import AdaVAE
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.generation import generate
from adavae.model.decoding.step_decoder import Generated
from adavae.model.errors import LogitsNotFinite
from adavae.model.parts.stacked import AdapterIndex
from adavae.service.engine.decode_batch import DecodeBatch, DecodeRow, Outcome
from adavae.service.engine.ticket import Ticket
from tests.tiny import VARIANTS, mixed_bank, tiny_backbone

DECODINGS = (
    Decoding(max_tokens=12),
    Decoding(max_tokens=5, min_tokens=4),
    Decoding(strategy=Strategy.SAMPLE, seed=3, max_tokens=12),
    Decoding(strategy=Strategy.SAMPLE, seed=4, top_k=5, top_p=0.9, temperature=0.7, max_tokens=9),
    Decoding(repetition_penalty=1.8, max_tokens=12),
    Decoding(strategy=Strategy.BEAM, num_beams=3, max_tokens=7),
)


def vae() -> AdaVAE:
    bank, _ = mixed_bank()
    return AdaVAE(tiny_backbone(), bank)


def made_rows(num: int, ticket: Ticket[Generated], decodings: Sequence[Decoding] = DECODINGS) -> list[DecodeRow]:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number in range(num):
        slot = number % len(VARIANTS)
        z = 2 * torch.randn(VARIANTS[slot].latent_size, generator=generator)
        rows.append(DecodeRow(ticket, number, z, slot, decodings[number % len(decodings)]))
    return rows


def alone(tiny: AdaVAE, row: DecodeRow) -> Generated:
    z = torch.zeros(1, tiny.bank.shape.latent_size)
    z[0, : len(row.z)] = row.z
    return generate(tiny, z, AdapterIndex.of([row.slot]), [row.decoding])[0]


def in_a_loop(test: Callable[[Ticket[Generated]], None]) -> None:
    async def run() -> None:
        ticket: Ticket[Generated] = Ticket(64)
        test(ticket)
        ticket.future.cancel()

    asyncio.run(run())


def run_all(batch: DecodeBatch, rows: Sequence[DecodeRow], joining: int = 3) -> dict[int, Generated | Exception]:
    """Joins ``joining`` rows before each step, as there is room, until all are done."""
    waiting, outcomes = list(rows), list[Outcome]()
    with torch.inference_mode():
        while waiting or len(batch):
            for _ in range(joining):
                if waiting and batch.num_free(is_beam=waiting[0].is_beam):
                    outcomes += batch.join([waiting.pop(0)])
            outcomes += batch.step()
    return {row.number: result for row, result in outcomes}


@pytest.mark.parametrize("joining", [1, 3, 24])
def test_rows_that_join_at_any_time_get_the_texts_they_get_alone(joining: int) -> None:
    def check(ticket: Ticket[Generated]) -> None:
        tiny = vae()
        rows = made_rows(24, ticket)
        results = run_all(DecodeBatch(tiny, max_rows=7, max_tokens=12), rows, joining)
        assert results == {row.number: alone(tiny, row) for row in rows}
        assert len({result.token_ids for result in results.values() if isinstance(result, Generated)}) > 12

    in_a_loop(check)


def test_tokens_are_reported_one_by_one() -> None:
    def check(ticket: Ticket[Generated]) -> None:
        told: list[int] = []
        row = replace(made_rows(1, ticket)[0], on_token=told.append)
        results = run_all(DecodeBatch(vae(), max_rows=2, max_tokens=12), [row])
        assert isinstance(results[0], Generated)
        assert tuple(told) == results[0].token_ids != ()

    in_a_loop(check)


def test_abandoned_rows_free_their_places_before_the_next_step() -> None:
    def check(ticket: Ticket[Generated]) -> None:
        tiny = vae()
        gone: Ticket[Generated] = Ticket(2)
        rows = made_rows(6, ticket)
        leaving = [replace(row, ticket=gone, number=90 + row.number, token_ids=[]) for row in rows]
        batch = DecodeBatch(tiny, max_rows=12, max_tokens=12)
        with torch.inference_mode():
            for kept, left in zip(rows, leaving, strict=True):
                batch.join([kept, left])
            first = {row.number: result for row, result in batch.step() if row.ticket is ticket}
            gone.is_abandoned = True
            batch.drop_abandoned()
        assert len(batch) == len(rows) - len(first)
        assert first | run_all(batch, []) == {row.number: alone(tiny, row) for row in rows}
        gone.future.cancel()

    in_a_loop(check)


def test_a_step_that_fails_for_one_row_is_bisected_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(ticket: Ticket[Generated]) -> None:
        tiny = vae()
        rows = made_rows(6, ticket, DECODINGS[:3])
        expected = {row.number: alone(tiny, row) for row in rows}
        poisonous = next(row for row in rows if len(expected[row.number].token_ids) > 3)
        step = tiny.decode_step
        batch = DecodeBatch(tiny, max_rows=8, max_tokens=12)

        def failing(token_ids: torch.Tensor, kv_cache: object, index: AdapterIndex) -> torch.Tensor:
            logits = step(token_ids, kv_cache, index)  # type: ignore[arg-type]
            if len(poisonous.token_ids) == 2 and _holds(batch, kv_cache, poisonous):
                raise RuntimeError("planted")
            return logits

        monkeypatch.setattr(tiny, "decode_step", failing)
        results = run_all(batch, rows)
        assert isinstance(results.pop(poisonous.number), RuntimeError)
        expected.pop(poisonous.number)
        assert results == expected

    in_a_loop(check)


def _holds(batch: DecodeBatch, kv_cache: object, row: DecodeRow) -> bool:
    """Whether a step's cache, a view of the batch's, covers the row."""
    view = kv_cache.lengths  # type: ignore[attr-defined]
    start = view.storage_offset()
    places = [place for place, tiny in enumerate(batch._rows) if tiny is row]
    return bool(places) and start <= places[0] < start + len(view)


@pytest.mark.parametrize("decoding", [None, DECODINGS[-1]], ids=["plain", "beams"])
def test_a_row_whose_logits_are_not_finite_fails_alone(decoding: Decoding | None) -> None:
    """A row of beams was called row 0, whichever it was."""

    def check(ticket: Ticket[Generated]) -> None:
        tiny = vae()
        rows = made_rows(6, ticket, DECODINGS[:2] if decoding is None else [decoding])
        rows[2].z.fill_(float("nan"))
        results = run_all(DecodeBatch(tiny, max_rows=8, max_tokens=12), rows)
        broken = results.pop(2)
        assert isinstance(broken, LogitsNotFinite) and broken.rows == (2,)
        assert results == {row.number: alone(tiny, row) for row in rows if row.number != 2}

    in_a_loop(check)


@pytest.mark.parametrize("place", [0, 1])
def test_a_row_at_the_place_of_one_that_overflowed_writes_what_it_writes_alone(place: int) -> None:
    """It failed too, and told its client to give a z nearer to the prior."""

    def check(ticket: Ticket[Generated]) -> None:
        tiny = vae()
        rows = made_rows(3, ticket, [Decoding(max_tokens=12, min_tokens=12)])
        batch = DecodeBatch(tiny, max_rows=2, max_tokens=12)
        outcomes = batch.join(rows[:2])
        for _ in range(6):
            outcomes += batch.step()
        written = batch._cache.view(0, 2)
        written.keys[:, place, :, written.num_memory + 3] = torch.inf
        outcomes += batch.step()
        assert [type(result) for row, result in outcomes if row is rows[place]] == [LogitsNotFinite]
        outcomes += batch.join(rows[2:])
        while len(batch):
            outcomes += batch.step()
        for row in (rows[1 - place], rows[2]):
            assert [result for other, result in outcomes if other is row] == [alone(tiny, row)]

    in_a_loop(check)
