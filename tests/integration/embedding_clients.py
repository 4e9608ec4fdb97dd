"""Libraries that speak OpenAI's embeddings, unmodified: ``python embedding_clients.py LIBRARY URL MODEL``.

A program of its own, for an environment of its own: of the project it imports nothing. It takes texts to store and
texts to search as JSON on its standard input, and answers with the text that the library finds for each.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence

Search = Callable[[str], str]


def langchain(url: str, name: str, texts: Sequence[str]) -> Search:
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_openai import OpenAIEmbeddings

    # Otherwise it sends token ids of OpenAI's own models.
    embedding = OpenAIEmbeddings(base_url=url, api_key="none", model=name, check_embedding_ctx_length=False)
    store = InMemoryVectorStore(embedding)
    store.add_texts(list(texts))
    return lambda text: store.similarity_search(text, k=1)[0].page_content


def llamaindex(url: str, name: str, texts: Sequence[str]) -> Search:
    from llama_index.core import VectorStoreIndex
    from llama_index.core.schema import TextNode
    from llama_index.embeddings.openai import OpenAIEmbedding

    embedding = OpenAIEmbedding(model_name=name, api_base=url, api_key="none")
    index = VectorStoreIndex([TextNode(text=text) for text in texts], embed_model=embedding)
    retriever = index.as_retriever(similarity_top_k=1)
    return lambda text: retriever.retrieve(text)[0].get_content()


def litellm(url: str, name: str, texts: Sequence[str]) -> Search:
    import numpy as np

    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # and asks nobody for the newest
    import litellm as library

    def embed(chosen: Sequence[str]) -> "np.ndarray":
        reply = library.embedding(model=f"openai/{name}", input=list(chosen), api_base=url, api_key="none")
        return np.array([row["embedding"] for row in reply.data])

    stored = embed(texts)
    return lambda text: texts[int((stored @ embed([text])[0]).argmax())]


def chromadb(url: str, name: str, texts: Sequence[str]) -> Search:
    import chromadb as library
    from chromadb.utils.embedding_functions import OpenAIEmbeddingFunction

    function = OpenAIEmbeddingFunction(api_base=url, api_key="none", model_name=name)
    client = library.EphemeralClient(library.config.Settings(anonymized_telemetry=False))
    collection = client.create_collection("sentences", embedding_function=function)
    collection.add(ids=[str(number) for number in range(len(texts))], documents=list(texts))
    return lambda text: collection.query(query_texts=[text], n_results=1)["documents"][0][0]


LIBRARIES = {each.__name__: each for each in (langchain, llamaindex, litellm, chromadb)}


def main() -> None:
    library, url, name = sys.argv[1:]
    given = json.load(sys.stdin)
    search = LIBRARIES[library](url, name, given["stored"])
    json.dump([search(text) for text in given["searched"]], sys.stdout)


if __name__ == "__main__":
    main()
