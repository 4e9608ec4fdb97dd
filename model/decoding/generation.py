"""Decoding whole requests: all rows in one batch, each with its own adapter set, parameters, seed and end.

A beam row decodes its beams together, in a separate batch.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from adavae.model.decoding.beam_search import BeamSearch
from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.sampling import end_held_off, next_tokens
from adavae.model.decoding.step_decoder import CacheType, FinishReason, Generated, StepDecoder, check_finite
from adavae.model.parts.stacked import AdapterIndex

OnToken = Callable[[int, int], None]


@torch.inference_mode()
def generate(
    decoder: StepDecoder[CacheType],
    z: Tensor,
    index: AdapterIndex,
    decodings: Sequence[Decoding],
    on_token: OnToken | None = None,
) -> list[Generated]:
    """Decodes every row of ``z``.

    Args:
        decoder: The model.
        z: Latent vectors, (B, Z).
        index: Adapter set of each row.
        decodings: How to choose tokens, one per row; ``max_tokens`` must fit the model's context.
        on_token: Called with row and token id as each token is chosen; for beam rows, at the end.

    Returns:
        One result per row, in order.

    Raises:
        LogitsNotFinite: The model overflowed on some rows.
    """
    tell = on_token or _ignore_token
    results: dict[int, Generated] = {}
    plain = [row for row, decoding in enumerate(decodings) if decoding.strategy is not Strategy.BEAM]
    if plain:
        chosen = torch.tensor(plain, device=z.device)
        plain_decodings = [decodings[row] for row in plain]
        decoded = _generate_plain(decoder, z[chosen], index.select(chosen), plain_decodings, plain, tell)
        results |= zip(plain, decoded, strict=True)
    for row, decoding in enumerate(decodings):
        if decoding.strategy is Strategy.BEAM:
            alone = torch.tensor([row], device=z.device)
            results[row] = BeamSearch(decoder, z[alone], index.select(alone), decoding, row).run()
            for token_id in results[row].token_ids:
                tell(row, token_id)
    return [results[row] for row in range(len(decodings))]


def _generate_plain(
    decoder: StepDecoder[CacheType],
    z: Tensor,
    index: AdapterIndex,
    decodings: list[Decoding],
    numbers: list[int],
    on_token: OnToken,
) -> list[Generated]:
    """Greedy and sampled rows; a finished row leaves the batch. ``numbers`` are the caller's row numbers."""
    tokens: list[list[int]] = [[] for _ in decodings]
    reasons: dict[int, FinishReason] = {}
    longest = max(decoding.max_tokens for decoding in decodings)
    logits, kv_cache = decoder.prefill(z, index, longest)
    has_token = _no_tokens_yet(logits, decodings)
    rows = list(range(len(decodings)))  # the rows still in the batch
    for step in range(longest):
        check_finite(logits, [numbers[row] for row in rows])
        remaining = [decodings[row] for row in rows]
        logits = end_held_off(logits, remaining, [step] * len(rows), decoder.eos_token_id)
        chosen = next_tokens(logits, remaining, has_token, step)
        going_on = []
        for place, (row, token_id) in enumerate(zip(rows, chosen.tolist(), strict=True)):
            if token_id == decoder.eos_token_id:
                reasons[row] = "stop"
                continue
            tokens[row].append(token_id)
            on_token(numbers[row], token_id)
            if len(tokens[row]) == decodings[row].max_tokens:
                reasons[row] = "length"
                continue
            going_on.append(place)
        if not going_on:
            break
        if has_token is not None:
            has_token.scatter_(1, chosen.unsqueeze(1), True)
        if len(going_on) < len(rows):
            kept = torch.tensor(going_on, device=z.device)
            chosen, kv_cache, index = chosen[kept], kv_cache.select(kept), index.select(kept)
            has_token = None if has_token is None else has_token[kept]
            rows = [rows[place] for place in going_on]
        logits = decoder.decode_step(chosen, kv_cache, index)
    return [Generated(tuple(written), reasons[row]) for row, written in enumerate(tokens)]


def _no_tokens_yet(logits: Tensor, decodings: Sequence[Decoding]) -> Tensor | None:
    if all(decoding.repetition_penalty == 1.0 for decoding in decodings):
        return None
    return torch.zeros_like(logits, dtype=torch.bool)


def _ignore_token(row: int, token_id: int) -> None:
    del row, token_id
