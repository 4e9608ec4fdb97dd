"""Libraries that speak OpenAI's embeddings, unmodified: each stores sentences and finds them again.

They are not installed with the project: each brings a hundred packages. What is here runs with
``pip install langchain-openai llama-index-embeddings-openai litellm chromadb``.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.served import served

TEXTS = [
    f"the {what} was {how} on day {day} ."
    for what, how, day in itertools.product(("food", "room"), ("good", "bad"), range(100))
]
Search = Callable[[str], str]
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs are not ours to mend


def langchain(url: str, model: str, texts: Sequence[str]) -> Search:
    library = pytest.importorskip("langchain_openai")
    stores = pytest.importorskip("langchain_core.vectorstores")
    # Otherwise it sends token ids of OpenAI's own models.
    embedding = library.OpenAIEmbeddings(base_url=url, api_key="none", model=model, check_embedding_ctx_length=False)
    store = stores.InMemoryVectorStore(embedding)
    store.add_texts(list(texts))
    return lambda text: str(store.similarity_search(text, k=1)[0].page_content)


def llamaindex(url: str, model: str, texts: Sequence[str]) -> Search:
    library = pytest.importorskip("llama_index.embeddings.openai")
    core = pytest.importorskip("llama_index.core")
    schema = pytest.importorskip("llama_index.core.schema")
    embedding = library.OpenAIEmbedding(model_name=model, api_base=url, api_key="none")
    index = core.VectorStoreIndex([schema.TextNode(text=text) for text in texts], embed_model=embedding)
    retriever = index.as_retriever(similarity_top_k=1)
    return lambda text: str(retriever.retrieve(text)[0].get_content())


def litellm(url: str, model: str, texts: Sequence[str]) -> Search:
    library: Any = pytest.importorskip("litellm")

    def embed(chosen: Sequence[str]) -> np.ndarray:
        reply = library.embedding(model=f"openai/{model}", input=list(chosen), api_base=url, api_key="none")
        return np.array([row["embedding"] for row in reply.data])

    stored = embed(texts)
    return lambda text: texts[int((stored @ embed([text])[0]).argmax())]


def chromadb(url: str, model: str, texts: Sequence[str]) -> Search:
    library: Any = pytest.importorskip("chromadb")
    functions = pytest.importorskip("chromadb.utils.embedding_functions")
    function = functions.OpenAIEmbeddingFunction(api_base=url, api_key="none", model_name=model)
    client = library.EphemeralClient(library.config.Settings(anonymized_telemetry=False))
    collection = client.create_collection("sentences", embedding_function=function)
    collection.add(ids=[str(number) for number in range(len(texts))], documents=list(texts))
    return lambda text: str(collection.query(query_texts=[text], n_results=1)["documents"][0][0])


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home: Path = tmp_path_factory.mktemp("home")
    with served(home) as server:
        yield f"{server.url()}/v1"


@pytest.mark.parametrize("store", [langchain, llamaindex, litellm, chromadb])
def test_what_a_library_stores_it_finds_again(
    store: Callable[[str, str, Sequence[str]], Search], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # and asks nobody for the newest
    package = {langchain: "langchain_openai", llamaindex: "llama_index.embeddings.openai"}.get(store, store.__name__)
    pytest.importorskip(package, reason=f"{package} is not installed, it brings a hundred packages")
    search = store(request.getfixturevalue("url"), "prefixed", TEXTS)
    asked = TEXTS[::40]
    assert [search(text) for text in asked] == asked
