"""CTranslate2 on the bare backbone, greedy; variant ``float32`` or ``int8``, the type of its weights."""

from functools import partial

import ctranslate2
from answering import NUM_ROWS, NUM_TOKENS, answer, asked
from ctranslate2.converters.transformers import GPT2Loader


class WithMadeUpWords(GPT2Loader):
    """As many words as the weights have rows: the shape of 124M comes with the bundled tokenizer, which has fewer."""

    def get_vocabulary(self, model, tokenizer):
        known = super().get_vocabulary(model, tokenizer)
        return known + [f"<{number}>" for number in range(len(known), model.config.vocab_size)]


ctranslate2.converters.transformers._MODEL_LOADERS["GPT2Config"] = WithMadeUpWords()

folder, threads, variant = asked()
converted = folder / f"ctranslate2-{variant}"
if not converted.is_dir():
    converter = ctranslate2.converters.TransformersConverter(str(folder))
    converter.convert(str(converted), quantization=None if variant == "float32" else variant)
generator = ctranslate2.Generator(
    str(converted), device="cpu", compute_type=variant, inter_threads=1, intra_threads=threads
)
start = (folder / "start_token").read_text(encoding="utf-8")


def decode(num_rows: int) -> int:
    output = generator.generate_batch(
        [[start]] * num_rows,
        max_length=NUM_TOKENS,
        min_length=NUM_TOKENS,
        sampling_topk=1,
        include_prompt_in_result=False,
    )
    return sum(len(row.sequences_ids[0]) for row in output)


assert decode(3) == 3 * NUM_TOKENS
answer({f"decode {rows}": partial(decode, rows) for rows in NUM_ROWS})
