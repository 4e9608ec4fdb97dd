"""Walks whose sentences differ: a point that would repeat a sentence of its walk is given another one near it.

The decoder writes one sentence over a whole region of z, so that neighbours on a walk often say the same. Around such a
point a few more are decoded, within the posterior's width, and the nearest to it by its re-encoding that the walk does
not have yet takes the place. Ends stay as they are.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adavae.model.decoding.decoding import Decoding
from adavae.model.latent import defaults
from adavae.model.latent.directions import around
from adavae.model.latent.space import LatentSpace
from adavae.model.operations.steps import Plan, decoded, encoded_written
from adavae.model.results import DecodedText


def told_apart(
    space: LatentSpace, z: Tensor, rows: Sequence[DecodedText], decoding: Decoding, steps: int
) -> Plan[list[DecodedText]]:
    """The same walks, with other sentences at the inner points that repeated one.

    Args:
        space: Where they lead through.
        z: Points of all walks, one walk after the other, (walks * steps, Z).
        rows: What was written there.
        decoding: As for the rows.
        steps: Points of one walk.
    """
    chosen = list(rows)
    for turn in range(defaults.WALK_ROUNDS):
        repeated = _repeated([row.text for row in chosen], steps)
        if not repeated:
            break
        width = defaults.WALK_NOISE * (turn + 1) * space.posterior_variance.sqrt()
        yield from _replace(space, z, chosen, repeated, decoding, steps, width)
    return chosen


def _replace(
    space: LatentSpace,
    z: Tensor,
    chosen: list[DecodedText],
    repeated: Sequence[int],
    decoding: Decoding,
    steps: int,
    width: Tensor,
) -> Plan[None]:
    """Puts another sentence into every place of ``repeated`` for which one was found within ``width``, (Z,)."""
    num = defaults.WALK_ALTERNATIVES
    near = torch.cat([around(z[row], width, num, decoding.seed) for row in repeated])  # (repeated * num, Z)
    tried = yield from decoded(near, [decoding] * len(near))
    texts = sorted({row.text for row in tried if row.text})
    if not texts:
        return
    mu = yield from encoded_written(texts)
    place = {text: number for number, text in enumerate(texts)}
    for number, row in enumerate(repeated):
        first = row - row % steps
        known = {each.text for each in chosen[first : first + steps]}
        fresh = [own for own in tried[number * num : (number + 1) * num] if own.text and own.text not in known]
        if fresh:
            distances = [float(space.posterior_distance(z[row], mu[place[own.text]])) for own in fresh]
            chosen[row] = fresh[distances.index(min(distances))]


def _repeated(texts: Sequence[str], steps: int) -> list[int]:
    """Inner points whose sentence stands earlier in their walk, or at its end."""
    found = []
    for row, text in enumerate(texts):
        place = row % steps
        first, last = row - place, row - place + steps - 1
        if 0 < place < steps - 1 and (text in texts[first:row] or text == texts[last]):
            found.append(row)
    return found
