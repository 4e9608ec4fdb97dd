"""Unmodified clients of embeddings store and search sentences: ``openai``, sync and async, in both encodings."""

import asyncio
from collections.abc import Iterator

import numpy as np
import openai
import pytest

from tests.integration.served import served

TEXTS = [f"{what} was {how} on day {day}" for what in ("food", "room") for how in ("good", "bad") for day in range(50)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("home")) as server:
        yield f"{server.url()}/v1"


def test_what_was_stored_is_found(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="none") as client:
        model = client.models.list().data[0].id
        stored = np.array([row.embedding for row in client.embeddings.create(model=model, input=TEXTS).data])
        assert stored.shape[0] == len(TEXTS)
        np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1.0, rtol=1e-5)
        asked = np.array(client.embeddings.create(model=model, input=TEXTS[37]).data[0].embedding)
        assert int((stored @ asked).argmax()) == 37
        plain = client.embeddings.create(model=model, input=TEXTS[37], encoding_format="float")
        np.testing.assert_allclose(plain.data[0].embedding, asked, rtol=1e-6)
        assert client.models.retrieve(model).id == model


def test_the_async_client_asks_many_at_once(url: str) -> None:
    async def ask() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
            model = (await client.models.list()).data[0].id
            replies = [client.embeddings.create(model=model, input=text) for text in TEXTS[:20]]
            return [reply.data[0].embedding for reply in await asyncio.gather(*replies)]

    vectors = asyncio.run(ask())
    assert len({tuple(vector) for vector in vectors}) > 1


def test_token_ids_are_those_of_the_backbone(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        model = client.models.list().data[0].id
        assert client.embeddings.create(model=model, input=[5, 6, 7]).usage.prompt_tokens > 0
        with pytest.raises(openai.UnprocessableEntityError, match="check_embedding_ctx_length=False"):
            client.embeddings.create(model=model, input=[[5], [100_000]])


def test_more_dimensions_than_a_set_has_are_refused(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        model = client.models.list().data[0].id
        with pytest.raises(openai.UnprocessableEntityError, match="dimensions"):
            client.embeddings.create(model=model, input="the food", dimensions=4096)


def test_a_model_that_is_not_there_is_not_found(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="text-embedding-3-small", input="a")
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("text-embedding-3-small")


def test_batches_are_not_found_and_say_what_to_use_instead(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        calls = [
            lambda: client.batches.create(input_file_id="file-1", endpoint="/v1/embeddings", completion_window="24h"),
            lambda: client.batches.retrieve("batch_1"),
            lambda: client.batches.list(),
        ]
        for call in calls:
            with pytest.raises(openai.NotFoundError, match="batches are not offered: send lists of texts") as caught:
                call()
            assert (caught.value.code, caught.value.type) == ("route_not_found", "not_found")
