"""Plans from z to texts: given or drawn latents, and the best of several candidates for each."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from adavae.model.decoding.candidates import best_candidates, candidate_costs, candidate_latents
from adavae.model.decoding.decoding import Decoding
from adavae.model.latent import defaults
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import Draw, Settled, Steering
from adavae.model.operations.steps import COMPUTED_AT_ONCE, Plan, computed, decoded, encoded_written, scored
from adavae.model.results import DecodedText


def latents(space: LatentSpace, z: Tensor, steering: Steering) -> Plan[Tensor]:
    """The given latents, (N, Z), adjusted for decoding."""
    return (yield from steered(space, z, space.settled(steering, defaults.DECODE)))


def drawn(space: LatentSpace, num: int, seed: int, draw: Draw, steering: Steering) -> Plan[Tensor]:
    """New latents, (num, Z)."""
    settled, guidance = space.settled(steering, defaults.DRAW), space.guidance_of(draw)
    z = yield from computed(
        partial(space.draw, num, seed, label=draw.label, truncation=settled.truncation, guidance=guidance)
    )
    return (yield from steered(space, z, replace(settled, truncation=1.0)))


def steered(space: LatentSpace, z: Tensor, settled: Settled) -> Plan[Tensor]:
    """z, (N, Z), adjusted as ``settled`` says; a few rows at a time, so that others come between.

    The parts are of even sizes: of one row alone some CPUs round otherwise.
    """
    if settled.refine == 0.0 and settled.truncation == 1.0:
        return z
    adjusted: list[Tensor] = []
    for some in z.tensor_split(max(1, math.ceil(len(z) / COMPUTED_AT_ONCE))):
        adjusted.append((yield from computed(partial(space.steered, some, settled))))
    return torch.cat(adjusted)


def decode(space: LatentSpace, z: Tensor, decodings: Sequence[Decoding], steering: Steering) -> Plan[list[DecodedText]]:
    """A text for each given z, (N, Z)."""
    steered_z = yield from latents(space, z, steering)
    return (yield from written(space, steered_z, decodings, steering.or_else(defaults.DECODE).candidates))


def sample(space: LatentSpace, num: int, decoding: Decoding, draw: Draw, steering: Steering) -> Plan[list[DecodedText]]:
    """``num`` new texts; z comes from the decoding's seed, the tokens of text i from that seed plus i."""
    z = yield from drawn(space, num, decoding.seed, draw, steering)
    return (yield from written(space, z, decoding.for_draws(num), steering.or_else(defaults.DRAW).candidates))


def written(
    space: LatentSpace, z: Tensor, decodings: Sequence[Decoding], num_candidates: int
) -> Plan[list[DecodedText]]:
    """The best of ``num_candidates`` texts for each z, (N, Z), and how typical that z is."""
    if num_candidates == 1:
        rows = yield from decoded(z, decodings)
    else:
        rows = yield from _best_written(space, z, decodings, num_candidates)
    return typical(space, z, rows)


def typical(space: LatentSpace, z: Tensor, rows: Sequence[DecodedText]) -> list[DecodedText]:
    """The same texts, each with its wanted z, (N, Z), and how typical that is."""
    wanted = z.float().cpu().numpy()
    typicality = space.typicality(z)
    return [
        replace(row, z=latent, typicality=share) for row, latent, share in zip(rows, wanted, typicality, strict=True)
    ]


def _best_written(space: LatentSpace, z: Tensor, decodings: Sequence[Decoding], num: int) -> Plan[list[DecodedText]]:
    seeds = [decoding.seed for decoding in decodings]
    around_z = candidate_latents(z, num, space.posterior_variance, seeds)  # (N * num, Z)
    each = [decoding for decoding in decodings for _ in range(num)]
    rows = yield from decoded(around_z, each)
    texts = sorted({row.text for row in rows if row.text})
    costs = torch.full((len(rows),), torch.inf)
    if texts:
        mu = yield from encoded_written(texts)
        nats = yield from scored(texts)
        places = {text: place for place, text in enumerate(texts)}
        numbers = [number for number, row in enumerate(rows) if row.text]
        found = torch.tensor([places[rows[number].text] for number in numbers])
        wanted = z.repeat_interleave(num, dim=0)[numbers]
        costs[numbers] = candidate_costs(wanted, mu[found], space.posterior_variance, nats[found])
    best = best_candidates(costs.view(len(z), num))
    return [rows[row * num + place] for row, place in enumerate(best)]
