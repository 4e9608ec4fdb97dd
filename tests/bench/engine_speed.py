"""The engine against transformers on the bare backbone, the authors' way, and itself without adapters."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from adavae.model.adavae import pad
from adavae.model.decoding.decoding import Decoding
from adavae.model.kernel.packing import PackedAdapterSet
from adavae.model.kv_cache import KVCache, Memory
from tests.bench.side_by_side import Figure, Way, compared, rates
from tests.bench.subjects import DEADLINE_S, NUM_SETS, RunningEngine, Subject, as_tensor, running_engine

NUM_TOKENS = 24  # tokens of a decoded text
GREEDY = Decoding(max_tokens=NUM_TOKENS)


def engine_figures(subject: Subject, rounds: int) -> Iterator[Figure]:
    """Every figure that needs no HTTP."""
    with running_engine(subject) as running:
        yield interpolation(subject, running, rounds)
        for num_rows, bound in ((1, 2.0), (11, 1.5), (32, 1.5)):
            yield decoding(subject, running, num_rows, rounds, bound if subject.name == "bundled" else 1.2)
        yield encoding(subject, running, rounds)
        yield different_sets_decode(subject, running, rounds)
        yield different_sets_encode(subject, running, rounds)
        yield mixed_decode(subject, running, rounds)
        yield mixed_encode(subject, running, rounds)
        yield from adapter_cost(subject, running, rounds)


def decoded(running: RunningEngine, subject: Subject, slots: Sequence[int], seed: int = 0) -> int:
    """One row per slot, all at once; returns the number of tokens."""
    z = subject.latents(len(slots), seed)
    work = [
        running.engine.decode(z[row : row + 1], slot, [GREEDY], deadline_s=DEADLINE_S) for row, slot in enumerate(slots)
    ]
    return sum(len(rows[0].token_ids) + int(rows[0].finish_reason == "stop") for rows in running.all(work))


def encoded(running: RunningEngine, rows: Sequence[Sequence[int]], slots: Sequence[int]) -> int:
    running.run(running.engine.encode(rows, slots, deadline_s=DEADLINE_S))
    return len(rows)


def interpolation(subject: Subject, running: RunningEngine, rounds: int) -> Figure:
    """Eleven sentences: through the engine, and one sentence at a time through PyTorch, as the authors decode them."""
    text_model = subject.text_model
    backbone, bank = subject.pretrained.backbone, text_model.vae.bank
    kernels = backbone.kernel, bank.latent_kernel
    z = torch.from_numpy(subject.latents(11))

    def one_by_one() -> int:
        return sum(len(text_model.decode(row.unsqueeze(0), "set-0", GREEDY)) for row in z)

    def authors_way() -> int:
        backbone.kernel = bank.latent_kernel = None
        try:
            return one_by_one()
        finally:
            backbone.kernel, bank.latent_kernel = kernels

    def ours() -> int:
        running.run(running.engine.decode(z.numpy(), 0, [GREEDY] * 11, deadline_s=DEADLINE_S))
        return 11

    ways: dict[str, Way] = {
        "ours": ours,
        "authors_way": lambda: running.on_device(authors_way),
        "ours_one_by_one": lambda: running.on_device(one_by_one),
    }
    measured = rates(ways, rounds)
    return compared(f"interpolate, 11 sentences ({subject.name})", measured, "ours", "authors_way", at_least=5.0)


def decoding(subject: Subject, running: RunningEngine, num_rows: int, rounds: int, bound: float) -> Figure:
    """Tokens a second with adapters and latent, over ``generate()`` on the bare backbone."""
    peer = subject.transformers
    start = torch.full((num_rows, 1), subject.pretrained.tokenizer.eos_token_id)

    @torch.inference_mode()
    def theirs() -> int:
        output = peer.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=NUM_TOKENS, do_sample=False)
        return int(output.shape[0] * (output.shape[1] - 1))

    ways: dict[str, Way] = {
        "ours": lambda: decoded(running, subject, [0] * num_rows),
        "transformers": lambda: running.on_device(theirs),
    }
    return compared(
        f"decode tokens/s, batch {num_rows} ({subject.name})",
        rates(ways, rounds),
        "ours",
        "transformers",
        at_least=bound,
    )


def encoding(subject: Subject, running: RunningEngine, rounds: int) -> Figure:
    """Texts a second over transformers' padded forward of the bare first layers, in order of arrival."""
    rows = subject.texts(256)
    peer = subject.transformers.transformer
    depth = subject.sets[0].manifest.config.encoder_layers
    blocks, peer.h = peer.h, peer.h[:depth]

    @torch.inference_mode()
    def theirs() -> int:
        for first in range(0, len(rows), 32):
            ids, mask = as_tensor(rows[first : first + 32])
            peer(ids, attention_mask=mask, use_cache=False)
        return len(rows)

    try:
        ways: dict[str, Way] = {
            "ours": lambda: encoded(running, rows, [0] * len(rows)),
            "transformers": lambda: running.on_device(theirs),
        }
        measured = rates(ways, rounds)
    finally:
        peer.h = blocks
    return compared(f"encode texts/s ({subject.name})", measured, "ours", "transformers", at_least=1.6)


def different_sets_decode(subject: Subject, running: RunningEngine, rounds: int) -> Figure:
    ways: dict[str, Way] = {
        "different": lambda: decoded(running, subject, range(NUM_SETS)),
        "same": lambda: decoded(running, subject, [0] * NUM_SETS),
    }
    name = f"decode, 8 rows of 8 sets over 8 rows of one ({subject.name})"
    return compared(name, rates(ways, rounds), "different", "same", at_least=0.9)


def different_sets_encode(subject: Subject, running: RunningEngine, rounds: int) -> Figure:
    rows = [subject.texts(1, seed)[0] for seed in range(NUM_SETS)]
    ways: dict[str, Way] = {
        "different": lambda: encoded(running, rows, range(NUM_SETS)),
        "same": lambda: encoded(running, rows, [0] * NUM_SETS),
    }
    name = f"encode, 8 rows of 8 sets over 8 rows of one ({subject.name})"
    return compared(name, rates(ways, rounds), "different", "same", at_least=0.9)


def mixed_decode(subject: Subject, running: RunningEngine, rounds: int) -> Figure:
    """Eight sets with one row each: in one batch, against one batch per set."""
    ways: dict[str, Way] = {
        "mixed": lambda: decoded(running, subject, range(NUM_SETS)),
        "one_batch_a_set": lambda: sum(decoded(running, subject, [slot], slot) for slot in range(NUM_SETS)),
    }
    name = f"decode, one mixed batch over one batch a set ({subject.name})"
    return compared(name, rates(ways, rounds), "mixed", "one_batch_a_set", at_least=3.0)


def mixed_encode(subject: Subject, running: RunningEngine, rounds: int) -> Figure:
    rows = [row[:12] for row in subject.texts(NUM_SETS)]
    ways: dict[str, Way] = {
        "mixed": lambda: encoded(running, rows, range(NUM_SETS)),
        "one_batch_a_set": lambda: sum(encoded(running, [rows[slot]], [slot]) for slot in range(NUM_SETS)),
    }
    name = f"encode short texts, one mixed batch over one batch a set ({subject.name})"
    return compared(name, rates(ways, rounds), "mixed", "one_batch_a_set", at_least=1.5)


def adapter_cost(subject: Subject, running: RunningEngine, rounds: int) -> Iterator[Figure]:
    """One adapter set against the bare frozen backbone, both with our code, without the engine."""
    text_model, backbone = subject.text_model, subject.pretrained.backbone
    vae, eos = text_model.vae, text_model.tokenizer.eos_token_id
    depth = subject.sets[0].manifest.config.encoder_layers
    ids, mask = pad([row[:24] for row in subject.texts(32)], eos)
    index = text_model.index_of("set-0", 32)

    bare = PackedAdapterSet.bare(depth, backbone.config.n_layer)

    @torch.inference_mode()
    def bare_encode() -> int:
        if backbone.kernel is not None:
            backbone.kernel.encode_hidden(ids, mask, [bare] * len(ids))
            return len(ids)
        x = backbone.embed(ids, torch.arange(ids.shape[1]))
        for block in backbone.blocks[:depth]:
            x = block(x, mask[:, None, None, :])
        backbone.ln_f(x)
        return len(ids)

    @torch.inference_mode()
    def own_encode() -> int:
        vae.encode(ids, mask, index)
        return len(ids)

    ways: dict[str, Way] = {"with": own_encode, "bare": bare_encode}
    measured = rates({name: partial(running.on_device, way) for name, way in ways.items()}, rounds)
    name = f"encode with one adapter set over the bare backbone ({subject.name})"
    yield compared(name, measured, "with", "bare", at_least=0.85)

    rows = 8
    z = torch.from_numpy(subject.latents(rows))
    few = text_model.index_of("set-0", rows)
    start = torch.full((rows,), eos)

    @torch.inference_mode()
    def own_decode() -> int:
        logits, cache = vae.prefill(z, few, NUM_TOKENS)
        for _ in range(NUM_TOKENS - 1):
            logits = vae.decode_step(logits.argmax(-1), cache, few)
        return rows * NUM_TOKENS

    @torch.inference_mode()
    def bare_decode() -> int:
        config = backbone.config
        nothing = torch.zeros(config.n_layer, rows, config.n_head, 0, config.n_embd // config.n_head)
        cache = KVCache.starting_with(Memory(nothing, nothing, torch.zeros(rows, 0, dtype=torch.bool)), NUM_TOKENS)
        tokens = start
        for _ in range(NUM_TOKENS):
            if backbone.kernel is not None:
                tokens = backbone.kernel.decode_step(tokens, cache, [bare] * rows).argmax(-1)
                continue
            step = cache.begin_step()
            x = backbone.embed(tokens.unsqueeze(1), step.positions)
            for layer, block in enumerate(backbone.blocks):
                x = block(x, step.mask, step.layer(layer))
            tokens = backbone.lm_head(backbone.ln_f(x[:, -1])).argmax(-1)
        return rows * NUM_TOKENS

    ways = {"with": own_decode, "bare": bare_decode}
    measured = rates({name: partial(running.on_device, way) for name, way in ways.items()}, rounds)
    name = f"decode with one adapter set over the bare backbone ({subject.name})"
    yield compared(name, measured, "with", "bare", at_least=0.85)
