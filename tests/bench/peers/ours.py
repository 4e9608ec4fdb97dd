"""Our engine with adapters and latent, in the checkout's environment; variant ``float16`` or ``int8``."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from adavae.model.config import WeightFormat
from tests.bench.engine_speed import decoded, encoded
from tests.bench.peers.answering import NUM_ROWS, answer, asked, batches, sentences
from tests.bench.subjects import EngineLimits, Subject, running_engine

folder, threads, variant = asked()
subject = Subject.of(folder.name, 1, WeightFormat(variant))  # type: ignore[arg-type]
rows = [row for batch in batches(folder) for row in batch]
texts, tokenizer = sentences(folder), subject.pretrained.tokenizer
with running_engine(subject, EngineLimits(threads=threads)) as running:

    def embed() -> int:
        return encoded(running, [tokenizer.encode(text)[:128] for text in texts], [0] * len(texts))

    answer(
        {
            **{f"decode {num}": partial(decoded, running, subject, [0] * num) for num in NUM_ROWS},
            "encode": lambda: encoded(running, rows, [0] * len(rows)),
            **({"embed": embed} if folder.name == "bundled" else {}),
        },
        {"computes_by": subject.pretrained.backbone.computes_by, "weights": subject.pretrained.backbone.weight_format},
    )
