"""What adapter sets and banks of them take in memory, counted before anything is allocated."""

import math
from collections.abc import Iterable, Mapping

from adavae.model.config import AdapterConfig, BackboneConfig
from adavae.model.parts.adapter_bank import adapter_shapes, slot_shapes
from adavae.model.parts.bank_shape import BankShape


def numbers_of_set(config: AdapterConfig, backbone: BackboneConfig) -> int:
    """How many numbers an adapter set of this configuration consists of."""
    return _total(adapter_shapes(config, backbone))


def numbers_of_slot(shape: BankShape, backbone: BackboneConfig) -> int:
    """How many numbers one slot of a bank of this shape has, whatever is in it."""
    return _total(slot_shapes(shape, backbone))


def widest_within(
    shapes: Iterable[BankShape], backbone: BackboneConfig, max_numbers: int, start: BankShape | None = None
) -> BankShape | None:
    """The union of as many of ``shapes``, in their order, as leave a slot at most ``max_numbers`` large.

    A shape that would make a slot larger is left out, so that those before it do not suffer from it.
    """
    widest = start
    for shape in shapes:
        union = shape if widest is None else widest.union(shape)
        if numbers_of_slot(union, backbone) <= max_numbers:
            widest = union
    return widest


def _total(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(map(math.prod, shapes.values()))
