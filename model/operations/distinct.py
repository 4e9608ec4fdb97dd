"""Walks without repeated sentences: a point that repeats a sentence of its walk gets another one from nearby.

The decoder writes one sentence over a whole region of z, so neighbours on a walk are often equal. Around such a point a
few more latents are decoded, within the posterior's width; of the sentences that the walk lacks, the one whose encoding
is nearest takes the place. Ends are not changed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adavae.model.decoding.decoding import Decoding
from adavae.model.latent import defaults
from adavae.model.latent.directions import around
from adavae.model.latent.space import LatentSpace
from adavae.model.operations.steps import ROWS_AT_ONCE, Plan, decoded_in_parts, encoded_written_in_parts
from adavae.model.results import DecodedText


def told_apart(
    space: LatentSpace, z: Tensor, rows: Sequence[DecodedText], decoding: Decoding, steps: int
) -> Plan[list[DecodedText]]:
    """The same walks, with other sentences at inner points that repeated one.

    Args:
        space: The latent space.
        z: Points of all walks, one walk after the other, (walks * steps, Z).
        rows: The texts decoded there.
        decoding: The decoding of ``rows``.
        steps: Points per walk.
    """
    chosen = list(rows)
    for turn in range(defaults.WALK_ROUNDS):
        repeated = _repeated([row.text for row in chosen], steps)
        if not repeated:
            break
        width = defaults.WALK_NOISE * (turn + 1) * space.posterior_variance.sqrt()
        yield from _replace(space, z, chosen, repeated, decoding, steps, width)
    return chosen


def rows_at_once(num_walks: int, steps: int) -> int:
    """The most rows that ``told_apart`` has decoded or encoded side by side: those of every inner point."""
    return min(ROWS_AT_ONCE, num_walks * max(0, steps - 2) * defaults.WALK_ALTERNATIVES)


def _replace(
    space: LatentSpace,
    z: Tensor,
    chosen: list[DecodedText],
    repeated: Sequence[int],
    decoding: Decoding,
    steps: int,
    width: Tensor,
) -> Plan[None]:
    """Replaces the sentences at ``repeated`` where another was found within ``width``, (Z,)."""
    num = defaults.WALK_ALTERNATIVES
    near = torch.cat([around(z[row], width, num, decoding.seed) for row in repeated])  # (repeated * num, Z)
    tried = yield from decoded_in_parts(near, [decoding] * len(near))
    texts = sorted({row.text for row in tried if row.text})
    if not texts:
        return
    mu = yield from encoded_written_in_parts(texts)
    place = {text: number for number, text in enumerate(texts)}
    for number, row in enumerate(repeated):
        first = row - row % steps
        known = {each.text for each in chosen[first : first + steps]}
        fresh = [other for other in tried[number * num : (number + 1) * num] if other.text and other.text not in known]
        if fresh:
            distances = [float(space.posterior_distance(z[row], mu[place[other.text]])) for other in fresh]
            chosen[row] = fresh[distances.index(min(distances))]


def _repeated(texts: Sequence[str], steps: int) -> list[int]:
    """Inner points whose sentence occurs earlier in their walk, or at its end."""
    found = []
    for row, text in enumerate(texts):
        place = row % steps
        first, last = row - place, row - place + steps - 1
        if 0 < place < steps - 1 and (text in texts[first:row] or text == texts[last]):
            found.append(row)
    return found
