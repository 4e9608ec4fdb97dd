"""The engine under many clients: rows keep to themselves, faults stay where they happen, nothing ever hangs."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from adavae.model.adavae import pad
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.step_decoder import Generated
from adavae.model.parts.stacked import AdapterIndex
from adavae.service.engine.engine import Engine
from adavae.service.engine.work import EncodedRow, EngineLimits
from adavae.service.errors import DeadlineExceeded, EngineStopped, Overloaded
from adavae.service.metrics import Metrics
from tests.tiny import PLAIN, VARIANTS
from tests.tiny_text import NAMED, tiny_pretrained, tiny_set, tiny_text_model

LIMITS = EngineLimits(encode_batch_tokens=64, decode_rows=8, max_tokens=16, max_queued_rows=300)


@asynccontextmanager
async def running(limits: EngineLimits = LIMITS, num_slots: int = 4) -> AsyncIterator[Engine]:
    """An engine with the three tiny sets in slots 0 to 2."""
    engine = Engine(tiny_pretrained(), VARIANTS, num_slots=num_slots, limits=limits, metrics=Metrics())
    await engine.start()
    try:
        for slot, config in enumerate(NAMED.values()):
            await engine.load(slot, tiny_set(config, slot + 1))
        yield engine
    finally:
        await asyncio.wait_for(engine.stop(10.0), 20.0)


def made_texts(num: int, seed: int = 0) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    return [draw.integers(1, 90, size=draw.integers(1, 20)).tolist() for _ in range(num)]


def latents(num: int, slot: int, seed: int = 0) -> NDArray[np.float32]:
    draw = np.random.default_rng(seed)
    return draw.standard_normal((num, VARIANTS[slot].latent_size)).astype(np.float32)


def encoded_alone(row: list[int], slot: int) -> EncodedRow:
    name = list(NAMED)[slot]
    model = tiny_text_model({name: NAMED[name]})
    ids, mask = pad([row], model.tokenizer.eos_token_id)
    with torch.inference_mode():
        posterior = model.vae.encode(ids, mask, AdapterIndex.of([0]))
    return EncodedRow(posterior.mu[0].numpy(), posterior.logvar[0].numpy())


def decoded_alone(z: NDArray[np.float32], slot: int, decoding: Decoding) -> str:
    name = list(NAMED)[slot]
    return tiny_text_model({name: NAMED[name]}).decode(torch.from_numpy(z[None]), name, decoding)[0].text


def text_of(generated: Generated) -> str:
    return tiny_pretrained().tokenizer.decode(generated.token_ids)


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.001)


def on_the_device(engine: Engine) -> tuple[threading.Event, threading.Event]:
    """Makes the next step wait: (it has begun, let it go on)."""
    begun, go_on = threading.Event(), threading.Event()
    step = engine._scheduler.step

    def waiting() -> list[object]:
        begun.set()
        assert go_on.wait(20)
        engine._scheduler.step = step  # type: ignore[method-assign]
        return step()  # type: ignore[return-value]

    engine._scheduler.step = waiting  # type: ignore[method-assign,assignment]
    return begun, go_on


@pytest.mark.asyncio
async def test_a_text_has_the_same_mu_alone_and_among_others_of_other_adapter_sets() -> None:
    rows = made_texts(64)
    slots = [number % 3 for number in range(64)]
    async with running() as engine:
        together = await engine.encode(rows, slots, deadline_s=20)
        clients = [engine.encode([row], [slot], deadline_s=20) for row, slot in zip(rows, slots, strict=True)]
        one_by_one = await asyncio.gather(*clients)
    for number, (row, slot) in enumerate(zip(rows, slots, strict=True)):
        expected = encoded_alone(row, slot)
        for each in (together[number], one_by_one[number][0]):
            np.testing.assert_allclose(each.mu, expected.mu, atol=1e-5, rtol=0)
            np.testing.assert_allclose(each.logvar, expected.logvar, atol=1e-5, rtol=0)


@pytest.mark.asyncio
async def test_texts_are_the_same_alone_and_under_sixteen_clients() -> None:
    decodings = [
        Decoding(max_tokens=12),
        Decoding(strategy=Strategy.SAMPLE, seed=7, max_tokens=12),
        Decoding(strategy=Strategy.BEAM, num_beams=2, max_tokens=6),
        Decoding(repetition_penalty=1.5, max_tokens=9),
    ]
    asked = [(client % 3, decodings[client % 4], latents(3, client % 3, client)) for client in range(16)]
    async with running() as engine:
        answers = await asyncio.gather(
            *(engine.decode(z, slot, [decoding] * 3, deadline_s=30) for slot, decoding, z in asked)
        )
    for (slot, decoding, z), answer in zip(asked, answers, strict=True):
        assert [text_of(row) for row in answer] == [decoded_alone(each, slot, decoding) for each in z]


@pytest.mark.asyncio
async def test_labels_have_the_probabilities_that_the_text_model_gives() -> None:
    mu = latents(5, 1)
    async with running() as engine:
        probabilities = await engine.classify(mu, 1, deadline_s=10)
    expected = tiny_text_model({"prefixed": NAMED["prefixed"]}).classify_latents(torch.from_numpy(mu), "prefixed")
    for row, classified in zip(probabilities, expected, strict=True):
        assert dict(zip(("no", "yes"), row.tolist(), strict=True)) == pytest.approx(classified.scores, abs=1e-5)


@pytest.mark.asyncio
async def test_a_client_that_went_away_frees_its_rows() -> None:
    async with running() as engine:
        begun, go_on = on_the_device(engine)
        gone = asyncio.ensure_future(engine.decode(latents(8, 0), 0, [Decoding(max_tokens=16)] * 8, deadline_s=30))
        await until(begun.is_set)
        stayed = asyncio.ensure_future(engine.decode(latents(2, 0), 0, [Decoding(max_tokens=3)] * 2, deadline_s=30))
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        steps_before = engine.metrics.decode_steps_total._value.get()
        go_on.set()
        assert len(await stayed) == 2
        assert engine.metrics.decode_steps_total._value.get() - steps_before <= 4  # none for the eight rows
        await until(lambda: not engine._scheduler.num_decoding)


@pytest.mark.asyncio
async def test_a_request_that_is_too_late_is_given_up() -> None:
    async with running() as engine:
        begun, go_on = on_the_device(engine)
        late = asyncio.ensure_future(engine.encode([[1, 2]], [0], deadline_s=0.05))
        await until(begun.is_set)
        with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
            await late
        go_on.set()
        assert len(await engine.encode([[1, 2]], [0], deadline_s=10)) == 1


@pytest.mark.asyncio
async def test_a_full_queue_refuses_before_queueing() -> None:
    async with running() as engine:
        begun, go_on = on_the_device(engine)
        first = asyncio.ensure_future(engine.encode([[1]], [0], deadline_s=30))
        await until(begun.is_set)
        waiting = asyncio.ensure_future(engine.encode([[1]] * 290, [0] * 290, deadline_s=30))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="300") as refused:
            await engine.encode([[1]] * 20, [0] * 20, deadline_s=30)
        assert refused.value.status == 429
        assert refused.value.retry_after_s is not None
        assert engine.num_waiting == 290 + 1
        go_on.set()
        assert len(await waiting) == 290
        assert len(await first) == 1


@pytest.mark.asyncio
async def test_promised_room_is_kept_from_others_until_it_is_used_or_given_back() -> None:
    async with running() as engine:
        with engine.reserved(290) as reservation:
            with pytest.raises(Overloaded, match="290 rows are waiting"), engine.reserved(20):
                pass
            with pytest.raises(Overloaded):
                await engine.encode([[1]] * 20, [0] * 20, deadline_s=30)
            assert len(await engine.encode([[1]] * 20, [0] * 20, deadline_s=30, reservation=reservation)) == 20
            for num_rows, num_left in ((200, 90), (88, 2), (3, 0)):
                decodings, z = [Decoding(max_tokens=2)] * num_rows, latents(num_rows, 0)
                answer = await engine.decode(z, 0, decodings, deadline_s=30, reservation=reservation)
                assert len(answer) == num_rows
                with pytest.raises(Overloaded), engine.reserved(301 - num_left):
                    pass
                with engine.reserved(300 - num_left):
                    pass
        with engine.reserved(300):
            pass


@pytest.mark.asyncio
async def test_more_rows_than_were_promised_ask_for_room() -> None:
    """A request that had reserved 3 rows queued 384 later, and the queue was full for everybody."""
    async with running() as engine:
        with engine.reserved(3) as reservation:
            with pytest.raises(Overloaded, match="300"):
                await engine.decode(latents(301, 0), 0, [Decoding()] * 301, deadline_s=30, reservation=reservation)
            with pytest.raises(Overloaded, match="300"):
                await engine.encode([[1]] * 301, [0] * 301, deadline_s=30, reservation=reservation)
            assert engine.num_waiting == 0
        with pytest.raises(Overloaded):
            await engine.encode([[1]] * 301, [0] * 301, deadline_s=30, reservation=reservation)


@pytest.mark.asyncio
async def test_room_for_a_later_part_is_kept_to_the_end_and_rows_that_wait_are_counted_once() -> None:
    def assert_room(engine: Engine, num_rows: int) -> None:
        with engine.reserved(num_rows):
            pass
        with pytest.raises(Overloaded), engine.reserved(num_rows + 1):
            pass

    async with running() as engine:
        with engine.reserved(60, at_once=100) as reservation:
            assert_room(engine, 200)
            for num_rows in (60, 100, 100):
                begun, go_on = on_the_device(engine)
                first = asyncio.ensure_future(engine.on_device(lambda: None, 30))
                await until(begun.is_set)
                decodings, z = [Decoding(max_tokens=1)] * num_rows, latents(num_rows, 0)
                part = asyncio.ensure_future(engine.decode(z, 0, decodings, deadline_s=30, reservation=reservation))
                await until(lambda: engine.num_waiting >= num_rows)  # noqa: B023
                assert_room(engine, 200)
                go_on.set()
                await first
                assert len(await part) == num_rows
                assert_room(engine, 200)
        assert_room(engine, 300)


@pytest.mark.asyncio
async def test_a_request_with_parts_above_the_limit_is_cut_to_what_may_wait() -> None:
    async with running() as engine:
        with engine.reserved(10, at_once=384) as reservation:
            assert list(reservation.parts(384)) == [slice(0, 300), slice(300, 600)]
            with pytest.raises(Overloaded), engine.reserved(1):
                pass
        assert list(reservation.parts(384)) == [slice(0, 384)]


@pytest.mark.asyncio
async def test_a_dead_device_thread_is_reported_at_once_and_comes_back() -> None:
    async with running() as engine:
        expected = await engine.encode([[1, 2, 3]], [0], deadline_s=10)

        def die() -> list[object]:
            raise SystemExit("planted")

        engine._scheduler.step = die  # type: ignore[method-assign,assignment]
        waiting: Sequence[asyncio.Future[object]] = [
            asyncio.ensure_future(engine.encode([[1]], [0], deadline_s=30)),
            asyncio.ensure_future(engine.decode(latents(2, 1), 1, [Decoding()] * 2, deadline_s=30)),
        ]
        for answer in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(answer, EngineStopped)
            assert answer.status == 503
        assert engine.not_ready_reason is not None
        with pytest.raises(EngineStopped):
            await engine.encode([[1]], [0], deadline_s=30)
        await until(lambda: engine.not_ready_reason is None)
        again = await engine.encode([[1, 2, 3]], [0], deadline_s=10)
        np.testing.assert_array_equal(again[0].mu, expected[0].mu)
        assert engine.metrics.engine_restarts_total._value.get() == 1


@pytest.mark.asyncio
async def test_one_poisonous_text_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as engine:
        encode = engine._scheduler.vae.encode

        def failing(token_ids: torch.Tensor, mask: torch.Tensor, index: AdapterIndex) -> object:
            if bool((token_ids == 66).any()):
                raise RuntimeError("planted")
            return encode(token_ids, mask, index)

        monkeypatch.setattr(engine._scheduler.vae, "encode", failing)
        rows = [[row + 1] * 4 for row in range(20)]
        rows[7] = [66] * 4
        answers = await asyncio.gather(
            *(engine.encode([row], [0], deadline_s=20) for row in rows), return_exceptions=True
        )
        assert [number for number, answer in enumerate(answers) if isinstance(answer, Exception)] == [7]


@pytest.mark.asyncio
async def test_stopping_finishes_what_runs_and_refuses_what_comes() -> None:
    async with running() as engine:
        begun, go_on = on_the_device(engine)
        last = asyncio.ensure_future(engine.decode(latents(3, 0), 0, [Decoding(max_tokens=16)] * 3, deadline_s=30))
        await until(begun.is_set)
        stopping = asyncio.ensure_future(engine.stop(10.0))
        await asyncio.sleep(0)
        with pytest.raises(EngineStopped, match="stopping"):
            await engine.encode([[1]], [0], deadline_s=30)
        go_on.set()
        assert len(await last) == 3
        await stopping


@pytest.mark.asyncio
async def test_stopping_does_not_wait_for_ever() -> None:
    async with running() as engine:
        begun, go_on = on_the_device(engine)
        stuck = asyncio.ensure_future(engine.encode([[1]], [0], deadline_s=30))
        await until(begun.is_set)
        await engine.stop(0.05)
        with pytest.raises(EngineStopped):
            await stuck
        go_on.set()


@pytest.mark.asyncio
async def test_a_larger_adapter_set_makes_the_bank_grow_under_running_rows() -> None:
    engine = Engine(tiny_pretrained(), [PLAIN], num_slots=3, limits=LIMITS, metrics=Metrics())
    await engine.start()
    try:
        await engine.load(0, tiny_set(PLAIN, 1))
        z = latents(4, 0)
        decoding = Decoding(max_tokens=12)
        running_rows = asyncio.ensure_future(engine.decode(z, 0, [decoding] * 4, deadline_s=30))
        await asyncio.sleep(0)
        for slot, config in list(enumerate(NAMED.values()))[1:]:
            await engine.load(slot, tiny_set(config, slot + 1))
        assert [text_of(row) for row in await running_rows] == [decoded_alone(each, 0, decoding) for each in z]
        for slot in range(3):
            z = latents(2, slot, seed=5)
            answer = await engine.decode(z, slot, [decoding] * 2, deadline_s=30)
            assert [text_of(row) for row in answer] == [decoded_alone(each, slot, decoding) for each in z]
    finally:
        await engine.stop(10.0)


@pytest.mark.asyncio
async def test_a_load_that_is_given_up_is_over_before_the_next_writes_to_its_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread cannot be cancelled: two of them would leave a mixture of two sets in one slot."""
    began, may_end, order = threading.Event(), threading.Event(), list[str]()
    async with running() as engine:
        bank = engine.vae.bank
        original = bank.load

        def slow(slot: int, *rest: object) -> None:
            order.append("begins")
            began.set()
            may_end.wait(10.0)
            original(slot, *rest)  # type: ignore[arg-type]
            order.append("ends")

        monkeypatch.setattr(bank, "load", slow)
        given_up = asyncio.ensure_future(engine.load(0, tiny_set(PLAIN, 7)))
        await asyncio.to_thread(began.wait, 10.0)
        next_one = asyncio.ensure_future(engine.load(0, tiny_set(PLAIN, 8)))
        for _ in range(3):  # impatiently
            given_up.cancel()
            await asyncio.sleep(0)
        assert order == ["begins"] and not given_up.done()
        may_end.set()
        await next_one
        assert given_up.cancelled()
        assert order == ["begins", "ends", "begins", "ends"]
        expected = tiny_set(PLAIN, 8).tensors
        for name, tensor in bank.export(0).items():
            torch.testing.assert_close(tensor, expected[name])


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["encode", "decode_step"])
async def test_a_load_waits_for_rows_of_its_slot_that_were_given_up_in_the_step_that_is_on(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for them any more, but the device thread reads their set until the step is over."""
    inside, may_end, order = threading.Event(), threading.Event(), list[str]()
    async with running() as engine:
        vae, bank = engine.vae, engine.vae.bank
        compute, load = getattr(vae, method), bank.load

        def slow(*arguments: object) -> object:
            inside.set()
            may_end.wait(10.0)
            result = compute(*arguments)
            order.append("the step has read")
            return result

        def watched(*arguments: object) -> None:
            order.append("the load writes")
            load(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(vae, method, slow)
        monkeypatch.setattr(bank, "load", watched)
        if method == "encode":
            given_up = asyncio.ensure_future(engine.encode([[1, 2, 3]], [0], deadline_s=30))
        else:
            given_up = asyncio.ensure_future(engine.decode(latents(1, 0), 0, [Decoding(max_tokens=8)], deadline_s=30))
        await asyncio.to_thread(inside.wait, 10.0)
        given_up.cancel()
        loading = asyncio.ensure_future(engine.load(0, tiny_set(PLAIN, 7)))
        await asyncio.sleep(0.1)
        assert order == []
        may_end.set()
        await loading
    assert order == ["the step has read", "the load writes"]
