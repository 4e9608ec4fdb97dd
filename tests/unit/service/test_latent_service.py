"""The operations on texts: what they answer is what the text model answers, whoever asks and whatever is cached."""

import asyncio
import contextlib
import contextvars
import errno
import threading
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.errors import AdapterSetMismatch, AdapterSetNotFound, StorageFull
from adavae.model.latent import directions
from adavae.model.latent.direction import BetweenTexts
from adavae.model.storage.pretrained import load_backbone
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.text_model import TextModel
from adavae.service.caller import CALLER
from adavae.service.errors import EngineStopped, InvalidRequest, Overloaded, ServiceError
from adavae.service.latent_service import LatentService
from adavae.service.loading import open_store
from adavae.service.metrics import Metrics
from adavae.service.objects.errors import StoreError
from adavae.service.results import DecodeResult, TextPiece
from tests.tiny import PREFIXED
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_prior import tiny_prior
from tests.tiny_text import NAMED

TEXTS = ["the food was great 7 .", "my room was awful", "na\u00efve \u2603 <|endoftext|>"]
GREEDY = Decoding(max_tokens=12)
SAMPLED = Decoding(strategy=Strategy.SAMPLE, seed=5, max_tokens=12)


@contextlib.asynccontextmanager
async def running(home: Path, **fields: Any) -> AsyncIterator[LatentService]:
    service = LatentService(tiny_settings(home, **fields), Metrics())
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


def text_model(home: Path) -> TextModel:
    settings = tiny_settings(home)
    return TextModel.load(load_backbone(settings.backbone_source), open_store(settings), list(NAMED))


@pytest.mark.asyncio
async def test_every_operation_answers_as_the_text_model(tmp_path: Path) -> None:
    model = text_model(tmp_path)
    async with running(tmp_path) as service:
        for name in NAMED:
            encoded = await service.encode(TEXTS, adapter=name, truncate=False)
            expected = model.encode(TEXTS, name)
            for row, mu in zip(encoded.rows, expected.mu, strict=True):
                np.testing.assert_allclose(row.encoding.mu, mu.numpy(), atol=1e-5, rtol=0)
            for decoding in (GREEDY, SAMPLED):
                decoded = await service.decode(expected.mu.tolist(), adapter=name, decodings=[decoding] * 3)
                assert [row.text for row in decoded.rows] == [
                    row.text for row in model.decode(expected.mu, name, decoding)
                ]
            for method in Interpolation:
                way = await service.interpolate(
                    TEXTS[0], TEXTS[1], steps=5, method=method, adapter=name, decoding=GREEDY
                )
                expected_way = model.interpolate(TEXTS[0], TEXTS[1], 5, name, GREEDY, method)
                assert [step.decoded.text for step in way.rows] == [step.decoded.text for step in expected_way]
                assert [step.tau for step in way.rows] == [0.0, 0.25, 0.5, 0.75, 1.0]
            answer = await service.analogy(*TEXTS, scale=1.5, samples=1, adapter=name, decoding=GREEDY)
            assert answer.rows[0].text == model.analogy(*TEXTS, name, GREEDY, scale=1.5)[0].text
        labels = await service.classify(TEXTS, adapter=None, truncate=False)
        assert [row.classified.label for row in labels.rows] == [
            each.label for each in model.classify(TEXTS, "prefixed")
        ]


@pytest.mark.asyncio
async def test_the_second_time_comes_from_the_cache_and_is_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        first = await service.encode([*TEXTS, TEXTS[0]], adapter=None, truncate=False)
        second = await service.encode([*TEXTS, TEXTS[0]], adapter=None, truncate=False)
        other = await service.encode(TEXTS, adapter="plain", truncate=False)
        assert service.metrics.encode_batch_rows._sum.get() == 3 + 3
    assert [row.is_cached for row in first.rows] == [False] * 4
    assert [row.is_cached for row in second.rows] == [True] * 4
    assert [row.is_cached for row in other.rows] == [False] * 3
    for before, after in zip(first.rows, second.rows, strict=True):
        np.testing.assert_array_equal(before.encoding.mu, after.encoding.mu)
        assert before.encoding.num_tokens == after.encoding.num_tokens


@pytest.mark.asyncio
async def test_without_a_cache_everything_is_the_same(tmp_path: Path) -> None:
    async with running(tmp_path) as cached, running(tmp_path, cache_bytes=0) as service:
        for _ in range(2):
            rows = (await service.encode(TEXTS, adapter=None, truncate=False)).rows
            assert not any(row.is_cached for row in rows)
        expected = (await cached.encode(TEXTS, adapter=None, truncate=False)).rows
        for encoded, other in zip(rows, expected, strict=True):
            np.testing.assert_allclose(encoded.encoding.mu, other.encoding.mu, atol=1e-5, rtol=0)


@pytest.mark.asyncio
@pytest.mark.parametrize("client", ["small", "greedy"], ids=["other client", "same client"])
async def test_a_text_does_not_wait_for_all_of_a_large_request_that_holds_it_too(tmp_path: Path, client: str) -> None:
    async with running(tmp_path) as service:
        encode, all_gone = service._parts.engine.encode, asyncio.Event()

        async def large_ones_later(rows: Any, *arguments: Any, **options: Any) -> Any:
            if len(rows) > 1:
                await all_gone.wait()
            return await encode(rows, *arguments, **options)

        service._parts.engine.encode = large_ones_later  # type: ignore[method-assign]
        contexts = {name: contextvars.copy_context() for name in ("greedy", client)}
        for name, context in contexts.items():
            context.run(CALLER.set, name)
        both = [
            asyncio.create_task(service.encode(texts, adapter=None, truncate=False), context=contexts[name])
            for texts, name in ((TEXTS, "greedy"), (TEXTS[:1], client))
        ]
        async with asyncio.timeout(10):
            small = await both[1]
        assert not both[0].done()
        all_gone.set()
        large = await both[0]
        np.testing.assert_allclose(small.rows[0].encoding.mu, large.rows[0].encoding.mu, atol=1e-5, rtol=0)


@pytest.mark.asyncio
async def test_room_is_reserved_for_all_rows_that_a_request_comes_to(tmp_path: Path) -> None:
    """Variations were looked for at twice as many points as were counted, and a direction's texts not at all."""
    async with running(tmp_path) as service:
        reserve, reserved = service._parts.engine.reserved, list[int]()

        def told(num_rows: int, at_once: int) -> contextlib.AbstractContextManager[Any]:
            reserved.append(num_rows)
            return reserve(num_rows, at_once)

        service._parts.engine.reserved = told  # type: ignore[method-assign,assignment]
        await service.variations(
            TEXTS, num=2, distance=1.0, adapter="plain", decoding=GREEDY, params=[f"texts[{row}]" for row in range(3)]
        )
        direction = BetweenTexts(tuple(TEXTS), tuple(TEXTS[:1]))
        for steps in (2, 7):
            await service.traverse(TEXTS[0], direction, steps=steps, between=None, adapter="plain", decoding=GREEDY)
    assert reserved == [12, 5, 7]


@pytest.mark.asyncio
@pytest.mark.parametrize("limit", [2048, 32])
async def test_no_request_queues_more_rows_than_were_reserved_for_it(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A walk of 64 steps reserved 64 rows and queued 248 at once; an analogy reserved 48, and queued 384."""
    settings = tiny_settings(tmp_path)
    publish_tiny(settings.bundled_adapters, settings.weights, "spaced", PREFIXED, 2, prior=tiny_prior(PREFIXED))
    monkeypatch.setattr(directions, "LEAST_LABEL_SHARE", 0.0)  # of the tiny set no text is sure of its label
    async with running(tmp_path, max_queued_rows=limit, cache_bytes=0) as service:
        engine, promised, queued = service._parts.engine, list[int](), list[int]()
        check_room, result = engine.check_room, engine._result

        def asked(num_rows: int) -> None:
            promised.append(num_rows)
            check_room(num_rows)

        async def counted(ticket: Any, work: Sequence[Any], *rest: Any) -> Any:
            queued.append(len(work))
            return await result(ticket, work, *rest)

        engine.check_room, engine._result = asked, counted  # type: ignore[method-assign,assignment]
        short = Decoding(max_tokens=2)
        walk = await service.interpolate(
            *TEXTS[:2], steps=24, method=Interpolation.LINEAR, adapter="spaced", decoding=short
        )
        assert len(walk.rows) == 24
        assert promised == [24] and max(queued) <= 24

        queued.clear()
        answer = await service.analogy(*TEXTS, scale=1.0, samples=16, adapter="spaced", decoding=short)
        assert len(answer.rows) == 16
        assert promised[1:] == [16] and max(queued) == 16  # of 128 in all


@pytest.mark.asyncio
async def test_identical_texts_in_flight_are_encoded_once(tmp_path: Path) -> None:
    async with running(tmp_path, cache_bytes=0) as service:
        answers = await asyncio.gather(*(service.encode([TEXTS[0]], adapter=None, truncate=False) for _ in range(12)))
        assert service.metrics.encode_batch_rows._sum.get() == 1
    assert len({answer.rows[0].encoding.mu.tobytes() for answer in answers}) == 1


@pytest.mark.asyncio
async def test_a_stream_shows_the_text_in_pieces_and_ends_with_the_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        for decoding in (GREEDY, SAMPLED, Decoding(strategy=Strategy.BEAM, num_beams=2, max_tokens=8)):
            z = (await service.encode(TEXTS, adapter="plain", truncate=False)).rows
            latents = [row.encoding.mu.tolist() for row in z]
            items = [
                item async for item in service.decode_stream(latents, adapter="plain", decodings=[decoding] * len(z))
            ]
            whole = items.pop()
            assert isinstance(whole, DecodeResult)
            texts = ["" for _ in z]
            for item in items:
                assert isinstance(item, TextPiece)
                texts[item.index] += item.text
            assert texts == [row.text for row in whole.rows]
            assert (
                whole.rows[0].text
                == (await service.decode(latents[:1], adapter="plain", decodings=[decoding])).rows[0].text
            )


@pytest.mark.asyncio
async def test_closing_a_stream_frees_its_rows(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        async with contextlib.aclosing(
            service.sample_stream(8, adapter="plain", decoding=Decoding(max_tokens=16, seed=1))
        ) as stream:
            assert isinstance(await anext(stream), TextPiece)
        async with asyncio.timeout(10):
            while service._parts.engine._scheduler.num_decoding or service._parts.engine.num_waiting:
                await asyncio.sleep(0.001)


@pytest.mark.asyncio
async def test_a_stream_is_refused_before_its_latents_are_computed(tmp_path: Path) -> None:
    """All of them were drawn and refined on the device first, and then the queue was asked for room."""
    async with running(tmp_path, max_queued_rows=10) as service:
        engine, num_computed = service._parts.engine, 0
        on_device = engine.on_device

        async def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal num_computed
            num_computed += 1
            return await on_device(*arguments, **options)

        engine.on_device = counted  # type: ignore[method-assign]

        async def drawn(num: int) -> list[TextPiece | DecodeResult]:
            return [item async for item in service.sample_stream(num, adapter="plain", decoding=GREEDY)]

        with engine.reserved(5):
            with pytest.raises(Overloaded):
                await drawn(6)
            assert num_computed == 0
            assert isinstance((await drawn(5))[-1], DecodeResult)
        assert num_computed == 1
        with engine.reserved(10):
            pass


@pytest.mark.asyncio
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_draw_is_never_empty(tmp_path: Path, strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some draws ended before their first token."""
    seen: list[Decoding] = []
    async with running(tmp_path) as service:
        decode = service._parts.engine.decode

        async def watched(z: Any, slot: int, decodings: list[Decoding], **rest: Any) -> Any:
            seen.extend(decodings)
            return await decode(z, slot, decodings, **rest)

        monkeypatch.setattr(service._parts.engine, "decode", watched)
        decoding = Decoding(strategy=strategy, num_beams=2, max_tokens=5, temperature=10.0)
        drawn = await service.sample(40, adapter=None, decoding=decoding)
        streamed = [item async for item in service.sample_stream(8, adapter=None, decoding=decoding)]
    assert all(row.num_tokens > 0 for row in drawn.rows)
    assert isinstance(streamed[-1], DecodeResult)
    assert all(row.num_tokens > 0 for row in streamed[-1].rows)
    assert {each.min_tokens for each in seen} == {1}


@pytest.mark.asyncio
async def test_samples_depend_on_the_seed_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        alone = await service.sample(4, adapter="plain", decoding=SAMPLED)
        among = await asyncio.gather(
            service.sample(4, adapter="plain", decoding=SAMPLED),
            *(
                service.sample(4, adapter=name, decoding=Decoding(seed=seed, max_tokens=9))
                for seed, name in enumerate(NAMED)
            ),
        )
    assert [row.text for row in among[0].rows] == [row.text for row in alone.rows]
    assert len({row.text for row in alone.rows}) > 1


@pytest.mark.asyncio
async def test_wrong_input_is_named(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        with pytest.raises(AdapterSetNotFound, match=r"plane.*plain"):
            await service.encode(TEXTS, adapter="plane", truncate=False)
        with pytest.raises(AdapterSetMismatch, match=r"plain@.*prefixed"):
            await service.classify(TEXTS, adapter="plain", truncate=False)
        with pytest.raises(InvalidRequest) as empty:
            await service.encode(["a", ""], adapter=None, truncate=False)
        assert empty.value.param == "texts[1]"
        with pytest.raises(InvalidRequest, match="limit is 39") as long:
            await service.encode(["fine", "wordy " * 60], adapter=None, truncate=False)
        assert long.value.param == "texts[1]"
        cut = await service.encode(["wordy " * 60], adapter=None, truncate=True)
        assert cut.rows[0].encoding.is_truncated
        assert cut.rows[0].encoding.num_tokens == 39
        with pytest.raises(InvalidRequest, match=r"z\[1\] has 3 numbers.*takes 4"):
            await service.decode([[0.0] * 4, [0.0] * 3], adapter="plain", decodings=[GREEDY] * 2)
        with pytest.raises(InvalidRequest, match="finite"):
            await service.decode([[1e39] * 4], adapter="plain", decodings=[GREEDY])
        with pytest.raises(InvalidRequest, match="limit is 16"):
            await service.decode([[0.0] * 4], adapter="plain", decodings=[Decoding(max_tokens=17)])


@pytest.mark.asyncio
async def test_a_text_without_end_is_refused_or_cut_before_it_is_tokenized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two million pairs took 85 seconds and gigabytes before they were refused."""
    tokenized: list[int] = []
    encode_many = Tokenizer.encode_many
    async with running(tmp_path) as service:

        def counted(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
            tokenized.append(sum(map(len, texts)))
            return encode_many(tokenizer, texts)

        monkeypatch.setattr(Tokenizer, "encode_many", counted)
        texts = ["1!" * 2_000_000, " " * 3_900_000, "a\u0301" * 1_000_000, "\U0001f3fd" * 1_000_000]
        for text in texts:
            direction = BetweenTexts(("a",), (text,))
            asked = (
                service.encode(["a", text], adapter=None, truncate=False),
                service.classify(["a", text], adapter="pooled", truncate=False),
                service.map_texts(["a", "b", text], labels=None, method="pca", adapter=None, truncate=False),
                service.interpolate("a", text, steps=2, method=Interpolation.LINEAR, adapter=None, decoding=GREEDY),
                service.analogy("a", "b", text, scale=1.0, samples=1, adapter=None, decoding=GREEDY),
                service.variations([text], num=1, distance=0.5, adapter=None, decoding=GREEDY, params=["text"]),
                service.traverse("a", direction, steps=2, between=None, adapter=None, decoding=GREEDY),
            )
            for work in asked:
                with pytest.raises(InvalidRequest, match=rf"has {len(text)} characters, the limit is \d+ .*: shorten"):
                    await work
        assert sum(tokenized) < 1000
        cut = await service.encode([*texts[:1], *texts[2:]], adapter=None, truncate=True)
        assert [row.encoding.is_truncated for row in cut.rows] == [True] * 3
        assert {row.encoding.num_tokens for row in cut.rows} == {service._parts.max_text_tokens}
        assert sum(tokenized) < 5000
        with pytest.raises(InvalidRequest, match="the text is empty"):
            await service.encode(texts[1:2], adapter=None, truncate=True)


@pytest.fixture
def decoded_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads in which token ids have been decoded, one an input."""
    threads, decode = list[str](), Tokenizer.decode

    def watched(tokenizer: Tokenizer, token_ids: Sequence[int]) -> str:
        if not (name := threading.current_thread().name).startswith("asyncio_"):  # there sets are tried
            threads.append(name)
        return decode(tokenizer, token_ids)

    monkeypatch.setattr(Tokenizer, "decode", watched)
    return threads


@pytest.mark.asyncio
async def test_many_token_ids_are_read_outside_of_the_event_loop(tmp_path: Path, decoded_in: list[str]) -> None:
    """2048 texts of 255 ids each held everybody up for a second."""
    texts = [f"the food was great {number} ." for number in range(600)]
    async with running(tmp_path) as service:
        ids = service._parts.pretrained.tokenizer.encode_many(texts)
        few = await service.embed(ids[:2], adapter="plain", dimensions=None)
        assert decoded_in == [threading.current_thread().name] * 2, "a thread is not worth it"
        decoded_in.clear()
        many = await service.embed(ids, adapter="plain", dimensions=None)
        assert len(decoded_in) == 600
        assert all(name.startswith("adavae-tokenizer") for name in decoded_in)
        expected = await service.embed(texts, adapter="plain", dimensions=None)
    np.testing.assert_array_equal(many.vectors, expected.vectors)
    np.testing.assert_allclose(few.vectors, expected.vectors[:2], atol=1e-5, rtol=0)
    assert many.num_tokens == sum(map(len, ids))


@pytest.mark.asyncio
async def test_token_ids_are_refused_with_their_input_wherever_they_are_read(
    tmp_path: Path, decoded_in: list[str]
) -> None:
    async with running(tmp_path) as service:
        ids = service._parts.pretrained.tokenizer.encode(TEXTS[0])
        wrong: dict[str, list[int]] = {
            "has the token id 100000, the backbone's tokenizer has": [100_000],
            "has 40 token ids, the limit is 39": [*ids, *[5] * 40][:40],
            "is the token ids of no text": [0],
        }
        for message, given in wrong.items():
            for num in (1, 300, 900):
                decoded_in.clear()
                with pytest.raises(InvalidRequest, match=message) as refused:
                    await service.embed([*[ids] * num, given, given], adapter="plain", dimensions=None)
                assert refused.value.param == f"input[{num}]"
                assert len(decoded_in) <= num + 1


@pytest.mark.asyncio
@pytest.mark.parametrize("num", [1, 900])
async def test_a_full_queue_refuses_token_ids_unread(tmp_path: Path, decoded_in: list[str], num: int) -> None:
    async with running(tmp_path, max_texts=100, max_queued_rows=120) as service:
        ids = service._parts.pretrained.tokenizer.encode(TEXTS[0])
        with service._parts.engine.reserved(120):
            with pytest.raises(Overloaded, match="120 rows are waiting"):
                await service.embed([ids] * num, adapter="plain", dimensions=None)
            assert decoded_in == []
        await service.embed([ids] * num, adapter="plain", dimensions=None)
        assert len(decoded_in) == num


@pytest.mark.asyncio
async def test_token_ids_wait_for_the_tokenizer_as_texts_do(tmp_path: Path, decoded_in: list[str]) -> None:
    async with running(tmp_path, max_queued_characters=20_000) as service:
        ids = service._parts.pretrained.tokenizer.encode(TEXTS[0])
        with (
            service._parts.encoder.tokens._queued(4_900),
            pytest.raises(Overloaded, match="4900 characters of yours wait"),
        ):
            await service.embed([ids] * 200, adapter="plain", dimensions=None)
        assert decoded_in == []
        assert len((await service.embed([ids] * 200, adapter="plain", dimensions=None)).vectors) == 200


@pytest.mark.asyncio
async def test_a_new_version_is_served_and_never_mixed_with_the_old(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        settings = service.settings
        before = await service.encode(TEXTS, adapter="plain", truncate=False)
        path = publish_tiny(
            settings.own_adapters, settings.weights, "plain", NAMED["plain"], 9, created_at="2026-05-05T00:00:00+00:00"
        )
        async with asyncio.timeout(10):
            while (after := await service.encode(TEXTS, adapter="plain", truncate=False)).adapter == before.adapter:
                await asyncio.sleep(0.01)
        assert after.adapter.version == path.name
        assert not np.allclose(after.rows[0].encoding.mu, before.rows[0].encoding.mu, atol=1e-3)
        old = await service.encode(TEXTS, adapter=f"plain@{before.adapter.version}", truncate=False)
        np.testing.assert_array_equal(old.rows[0].encoding.mu, before.rows[0].encoding.mu)


@pytest.mark.asyncio
async def test_before_it_is_loaded_and_after_it_stopped_it_says_so(tmp_path: Path) -> None:
    service = LatentService(tiny_settings(tmp_path), Metrics())
    assert service.not_ready_reason == "the model is being loaded"
    with pytest.raises(EngineStopped, match="being loaded"):
        await service.encode(TEXTS, adapter=None, truncate=False)
    await service.start()
    assert service.is_ready
    await service.stop()
    assert not service.is_ready
    with pytest.raises(EngineStopped, match="shutting down"):
        await service.encode(TEXTS, adapter=None, truncate=False)


@pytest.mark.asyncio
async def test_a_volume_that_is_gone_or_a_set_that_went_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as service:
        store = service._parts.registry.store
        monkeypatch.setattr(store, "verified_files_of", lambda _: {"plain/1/gone": tmp_path / "gone"})
        with pytest.raises(ServiceError, match="No such file") as caught:
            await service.adapter_archive("plain")
        assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")

        for error in (StorageFull("/secret/place is full"), OSError(errno.ENOSPC, "No space left on device")):
            monkeypatch.setattr(store, "card_of", partial(_raise, error))
            with pytest.raises(ServiceError) as caught:
                await service.adapter_card("plain")
            assert (caught.value.status, caught.value.code) == (503, "storage_full")
            assert "secret" not in caught.value.message
        monkeypatch.undo()

        def gone(*_arguments: object) -> None:
            raise StoreError("unreachable", "memory://bucket", "error sending request")

        monkeypatch.setattr(store, "files_of", gone)
        with pytest.raises(ServiceError, match="cannot be reached") as caught:
            await service.adapter_card("plain")
        assert (caught.value.status, caught.value.code) == (503, "storage_unreachable")


def _raise(error: Exception, *_arguments: object) -> None:
    raise error
