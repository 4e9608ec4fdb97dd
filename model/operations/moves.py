"""Plans that set out from texts: walks between two, analogies, variations of one, and traversals along a direction."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from adavae.model import latent_ops
from adavae.model.cleaning import clean
from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.errors import ConfigError
from adavae.model.given_numbers import number
from adavae.model.given_texts import kind_of
from adavae.model.latent import defaults, directions
from adavae.model.latent.direction import BetweenLabels, BetweenTexts, Dimension, Direction, check_texts
from adavae.model.latent.space import LatentSpace
from adavae.model.latent.steering import Settled, Steering, check_scale
from adavae.model.operations.distinct import told_apart
from adavae.model.operations.least_change import least_changed
from adavae.model.operations.steps import Plan, computed, decoded_in_parts, encoded
from adavae.model.operations.writing import steered, typical, written
from adavae.model.results import DecodedText, InterpolationStep, TraverseStep

_ROUNDS = 6  # of looking for variations that differ, each further away
_WIDENING = 1.4
_SEED_STRIDE = 1_000_003  # between rounds, so that seeds that count up do not meet the next round's


def interpolate(
    space: LatentSpace,
    source: str | Sequence[str],
    target: str | Sequence[str],
    *,
    steps: int,
    method: Interpolation,
    decoding: Decoding,
    steering: Steering,
) -> Plan[list[InterpolationStep]]:
    """``steps`` sentences from ``source`` to ``target``, ends included (paper Section 3.4, Table 5).

    Of lists each source goes to its own target, as it would alone: one walk after the other.

    Raises:
        ConfigError: There is no pair, or they are not as many.
    """
    sources, targets = _as_list(source), _as_list(target)
    check_texts("source", sources)
    if isinstance(source, str) is not isinstance(target, str):
        one, several = ("source", "target") if isinstance(source, str) else ("target", "source")
        raise ConfigError("target", kind_of(target), f"must be as source: {one} is one text, {several} a list of them")
    if len(sources) != len(targets):
        raise ConfigError("target", len(targets), f"must be one text for each source, which are {len(sources)}")
    ends = zip(_params("source", source), _params("target", target), strict=True)
    plan = walks(
        space,
        list(zip(sources, targets, strict=True)),
        steps=steps,
        method=method,
        decoding=decoding,
        steering=steering,
        params=[name for pair in ends for name in pair],
    )
    return [step for walk in (yield from plan) for step in walk]


def walks(
    space: LatentSpace,
    pairs: Sequence[tuple[str, str]],
    *,
    steps: int,
    method: Interpolation,
    decoding: Decoding,
    steering: Steering,
    params: Sequence[str],
) -> Plan[list[list[InterpolationStep]]]:
    """Many walks side by side, each as it would be alone; ``params`` is what each text is called in an error."""
    settled = space.settled(steering, defaults.WALK)
    latent_ops.taus(steps)
    ends = yield from encoded([text for pair in pairs for text in pair], params)
    ways = [latent_ops.interpolate(ends[row], ends[row + 1], steps, method) for row in range(0, len(ends), 2)]
    z = yield from _denoised(space, ways, settled)
    rows = yield from written(space, z, [decoding] * len(z), settled.candidates)
    if steering.candidates is None:
        rows = typical(space, z, (yield from told_apart(space, z, rows, decoding, steps)))
    each = [InterpolationStep(number % steps / (steps - 1), row) for number, row in enumerate(rows)]
    return [each[start : start + steps] for start in range(0, len(each), steps)]


def _denoised(space: LatentSpace, ways: Sequence[Tensor], settled: Settled) -> Plan[Tensor]:
    """All walks, (walks * steps, Z); one at a time, so that others come between."""
    denoised: list[Tensor] = []
    for way in ways:
        walk = partial(directions.denoised_walk, space, way, settled)
        denoised.append((yield from computed(walk)) if settled.refine > 0.0 else walk())
    return torch.cat(denoised)


def analogy(
    space: LatentSpace,
    a: str | Sequence[str],
    b: str | Sequence[str],
    c: str | Sequence[str],
    *,
    scale: float | None,
    decodings: Sequence[Decoding],
    steering: Steering,
) -> Plan[list[DecodedText]]:
    """Every ``c`` changed as the mean of ``a`` changes into that of ``b`` (paper Table 4).

    One answer per decoding for each c, as it would be alone: z_D = z_C + scale * (mean z_B - mean z_A). Where the
    examples change their label, ``focus`` leads the difference to that change (``directions.change``), and each text
    goes as far as its label needs (``least_change``), unless another scale or a number of candidates is asked for.
    """
    settled = space.settled(steering, defaults.ANALOGY)
    factor = defaults.SCALE if scale is None else scale
    check_scale("scale", factor)
    groups = {"a": _as_list(a), "b": _as_list(b), "c": _as_list(c)}
    for name, texts in groups.items():
        check_texts(name, texts)
    params = [param for name, given in zip("abc", (a, b, c), strict=True) for param in _params(name, given)]
    mu = yield from encoded([text for texts in groups.values() for text in texts], params)
    num_a, num_changed = len(groups["a"]), len(groups["a"]) + len(groups["b"])
    change = directions.change(space, mu[:num_a].mean(0), mu[num_a:num_changed].mean(0), settled.focus)
    z_c = mu[num_changed:]
    if change.labels is not None and factor == defaults.SCALE and steering.candidates is None:
        return (yield from least_changed(space, z_c, change, decodings, settled))
    z = yield from steered(space, z_c + factor * change.by(defaults.LABEL_GAIN), settled)
    each = z.repeat_interleave(len(decodings), dim=0)
    return (yield from written(space, each, list(decodings) * len(z), settled.candidates))


def traverse(
    space: LatentSpace,
    text: str,
    direction: Direction,
    *,
    steps: int,
    between: tuple[float, float] | None,
    decoding: Decoding,
    steering: Steering,
) -> Plan[list[TraverseStep]]:
    """``steps`` sentences along a direction through ``text``: z + at * direction, ``at`` evenly over ``between``."""
    settled = space.settled(steering, defaults.TRAVERSE)
    usual = defaults.DIMENSION_RANGE if isinstance(direction, Dimension) else defaults.DIFFERENCE_RANGE
    at = directions.places(*(usual if between is None else _range_of(between)), steps)
    mu, along = yield from _set_out(space, text, direction)
    z = yield from steered(space, mu + at.to(mu).unsqueeze(1) * along, settled)
    rows = yield from written(space, z, [decoding] * steps, settled.candidates)
    return [TraverseStep(place, row) for place, row in zip(at.tolist(), rows, strict=True)]


def _range_of(between: tuple[float, float]) -> tuple[float, float]:
    try:
        first, last = between
    except (TypeError, ValueError):
        raise ConfigError("between", between, "must be two numbers, of the first step and of the last") from None
    return number("between[0]", first), number("between[1]", last)


def _set_out(space: LatentSpace, text: str, direction: Direction) -> Plan[tuple[Tensor, Tensor]]:
    """mu of the text and the direction, each (Z,)."""
    match direction:
        case Dimension(index):
            along = directions.along_dimension(space, index)
            mu = yield from encoded([text], ["text"])
        case BetweenLabels(source, target):
            along = directions.between_labels(space, source, target)
            mu = yield from encoded([text], ["text"])
        case BetweenTexts(source, target):
            params = ["text", *_params("direction.from", source), *_params("direction.to", target)]
            mu = yield from encoded([text, *source, *target], params)
            along = mu[1 + len(source) :].mean(0) - mu[1 : 1 + len(source)].mean(0)
    return mu[0], along


def variations(
    space: LatentSpace,
    texts: Sequence[str],
    *,
    num: int,
    distance: float | None,
    decoding: Decoding,
    steering: Steering,
    params: Sequence[str],
) -> Plan[list[list[DecodedText]]]:
    """Up to ``num`` different sentences near each text, none equal to it; each text is answered as it would be alone.

    Points are drawn around the text, further away from round to round until enough differ; where the decoder writes the
    same again and again there are fewer.
    """
    width = defaults.DISTANCE if distance is None else distance
    check_scale("distance", width)
    if num < 1:
        raise ConfigError("n", num, "must be at least 1")
    if width <= 0.0:
        raise ConfigError("distance", distance, "must be above 0")
    settled = space.settled(steering, defaults.VARIATIONS)
    mu = yield from encoded(texts, params)
    found: list[dict[str, DecodedText]] = [{} for _ in texts]
    for turn in range(_ROUNDS):
        missing = [row for row, rows_found in enumerate(found) if len(rows_found) < num]
        if not missing:
            break
        reach = width * _WIDENING**turn * space.posterior_variance.sqrt()
        sizes = [defaults.VARIATION_TRIES * (num - len(found[row])) for row in missing]
        seed = decoding.seed + turn * _SEED_STRIDE
        near = [directions.around(mu[row], reach, size, seed) for row, size in zip(missing, sizes, strict=True)]
        z = yield from steered(space, torch.cat(near), settled)
        decodings = [each for size in sizes for each in decoding.for_rows(size)]
        rows = iter(typical(space, z, (yield from decoded_in_parts(z, decodings))))
        for row, size in zip(missing, sizes, strict=True):
            _keep_different(found[row], texts[row], [next(rows) for _ in range(size)], num)
    return [list(rows_found.values()) for rows_found in found]


def _keep_different(found: dict[str, DecodedText], text: str, rows: Sequence[DecodedText], num: int) -> None:
    """Adds to ``found`` what reads differently from the text and from all that is there."""
    own = _as_read(text)
    for row in rows:
        key = _as_read(row.text)
        if key and key != own and key not in found and len(found) < num:
            found[key] = row


def _as_read(text: str) -> str:
    """What makes two texts the same to a reader: neither case nor blanks differ, nor how a letter is put together."""
    return "".join(clean(text).split()).casefold()


def _as_list(texts: str | Sequence[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else list(texts)


def _params(name: str, texts: str | Sequence[str]) -> list[str]:
    """What each text is called in an error."""
    return [name] if isinstance(texts, str) else [f"{name}[{number}]" for number in range(len(texts))]
