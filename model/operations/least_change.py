"""Analogies that change a label by as little as does it.

How far z has to go until the decoder writes the other label differs from text to text: what carries one across leaves
another where it was, and costs a third its words. So several points are written side by side, at a few lengths of the
way and around them, and of those whose re-encoding lies clearly across the two labels' boundary each text takes the one
that is nearest to it in all but the label.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from adavae.model.decoding.decoding import Decoding
from adavae.model.latent import defaults
from adavae.model.latent.directions import Change, around
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import Settled
from adavae.model.operations.steps import ROWS_AT_ONCE, Plan, decoded_in_parts, encoded_written_in_parts
from adavae.model.operations.writing import steered, typical
from adavae.model.results import DecodedText


def least_changed(
    space: LatentSpace, z_c: Tensor, change: Change, decodings: Sequence[Decoding], settled: Settled
) -> Plan[list[DecodedText]]:
    """A text for every z_C, (N, Z), and decoding: N * len(decodings) texts, those of one z_C together.

    Args:
        space: Has a prior that knows the labels.
        z_c: What is changed.
        change: With a change of label.
        decodings: The same for every z_C.
        settled: How the changed z are led.
    """
    ways = _ways(space, change, decodings[0].seed)  # (P, Z)
    chosen: list[DecodedText] = []
    for some in torch.split(z_c, max(1, ROWS_AT_ONCE // (len(ways) * len(decodings)))):
        chosen += yield from _some_changed(space, some, change, ways, decodings, settled)
    return chosen


def rows_at_once(num_texts: int, num_decodings: int) -> int:
    """The most rows that ``least_changed`` has decoded or encoded side by side."""
    return min(ROWS_AT_ONCE, num_texts * num_decodings * len(defaults.LABEL_GAINS) * defaults.LABEL_ALTERNATIVES)


def _some_changed(
    space: LatentSpace, z_c: Tensor, change: Change, ways: Tensor, decodings: Sequence[Decoding], settled: Settled
) -> Plan[list[DecodedText]]:
    P, D = len(ways), len(decodings)
    z = yield from steered(space, (z_c.unsqueeze(1) + ways).flatten(0, 1), settled)  # (N * P, Z)
    z = z.view(len(z_c), P, -1).repeat_interleave(D, dim=0).flatten(0, 1)  # (N * D * P, Z)
    each = [decoding for _ in z_c for decoding in decodings for _ in range(P)]
    rows = typical(space, z, (yield from decoded_in_parts(z, each)))
    side, distance = yield from _placed(space, z_c.repeat_interleave(D * P, dim=0), change, rows)
    best = _nearest_across(side.view(-1, P), distance.view(-1, P))
    return [rows[first * P + place] for first, place in enumerate(best)]


def _ways(space: LatentSpace, change: Change, seed: int) -> Tensor:
    """What is added to z_C to get the points that are tried, (P, Z); the same for every z_C."""
    width = defaults.WALK_NOISE * space.posterior_variance.sqrt()
    nearby = around(torch.zeros_like(width), width, defaults.LABEL_ALTERNATIVES - 1, seed)
    offsets = torch.cat([torch.zeros(1, len(width)), nearby])
    return torch.cat([change.by(gain) + offsets for gain in defaults.LABEL_GAINS])


def _placed(
    space: LatentSpace, z_c: Tensor, change: Change, rows: Sequence[DecodedText]
) -> Plan[tuple[Tensor, Tensor]]:
    """Where each text lies: its side of the boundary, and how far it is from z_C, (N, Z), beside the label's way.

    Both (N,); empty texts lie infinitely far on the wrong side.
    """
    assert space.prior is not None and change.labels is not None  # what the caller has seen to
    side, distance = torch.full((2, len(rows)), torch.inf)
    side = -side
    written = [number for number, row in enumerate(rows) if row.text]
    if written:
        texts = sorted({rows[number].text for number in written})
        place = {text: number for number, text in enumerate(texts)}
        mu = (yield from encoded_written_in_parts(texts))[[place[rows[number].text] for number in written]]
        way = change.way / change.way.norm()
        moved = mu - z_c[written]
        beside = moved - (moved @ way).unsqueeze(1) * way
        side[written] = space.prior.label_side(mu, change.labels.source, change.labels.target)
        distance[written] = space.posterior_distance(torch.zeros_like(beside), beside)
    return side, distance


def _nearest_across(side: Tensor, distance: Tensor) -> list[int]:
    """Of each row of (N, P) the nearest that is clearly across, or the furthest where none is."""
    across = side >= defaults.LABEL_SIDE
    nearest = distance.masked_fill(~across, torch.inf).argmin(1)
    chosen: list[int] = torch.where(across.any(1), nearest, side.argmax(1)).tolist()
    return chosen
