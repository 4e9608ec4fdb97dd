"""Tensors out of the bytes of a safetensors file, without copying them.

``safetensors.load`` copies every tensor while it holds the interpreter's lock: some five milliseconds a set, in which
neither the event loop nor the device thread of a service moves.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from torch import Tensor

from adavae.model.errors import shown
from adavae.model.finite import is_finite

_DTYPES = {"F16": torch.float16, "F32": torch.float32}  # what adapter sets are stored in
_LENGTH_BYTES = 8  # of the header's length, little-endian, in front of the header
_LONGEST_HEADER = 4 * 1024**2  # some hundred bytes a tensor
_PIECE_BYTES = 4 * 1024**2
_MAX_AXES, _LARGEST = 8, 2**40


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor is, counted from the end of the header, and what it is."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def shapes_in(file: BinaryIO, num_bytes: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors by its header alone; the file is at its beginning again afterwards.

    Args:
        file: Open for reading.
        num_bytes: How many it has.

    Raises:
        SafetensorError: As ``tensors_in``.
    """
    _, places = _places_in(file, num_bytes)
    file.seek(0)
    return {name: place.shape for name, place in places.items()}


def first_not_finite(file: BinaryIO, num_bytes: int) -> str | None:
    """The name of a tensor with a number that is NaN or infinite, if there is one; read piece by piece.

    Raises:
        SafetensorError: As ``tensors_in``.
    """
    data, places = _places_in(file, num_bytes)
    for name, place in places.items():
        file.seek(data + place.begin)
        for start in range(place.begin, place.end, _PIECE_BYTES):
            piece = bytearray(file.read(min(_PIECE_BYTES, place.end - start)))
            if not is_finite(torch.frombuffer(piece, dtype=place.dtype)):
                return name
    return None


def _places_in(file: BinaryIO, num_bytes: int) -> tuple[int, dict[str, _Place]]:
    """Where the data of a file begins, and its tensors; the file is read from its beginning."""
    length = _header_length(file.read(_LENGTH_BYTES), num_bytes)
    data = _LENGTH_BYTES + length
    return data, _places(file.read(length), num_bytes - data)


def tensors_in(content: bytearray) -> dict[str, Tensor]:
    """Views of ``content``, which they keep alive and which must not change any more.

    Raises:
        SafetensorError: It is no safetensors file, or holds other numbers than float16 and float32.
    """
    length = _header_length(content[:_LENGTH_BYTES], len(content))
    data = _LENGTH_BYTES + length
    places = _places(bytes(content[_LENGTH_BYTES:data]), len(content) - data)
    return {name: _view(content, data, place) for name, place in places.items()}


def _header_length(beginning: bytes | bytearray, num_bytes: int) -> int:
    length = int.from_bytes(beginning, "little")
    if len(beginning) < _LENGTH_BYTES or length > min(_LONGEST_HEADER, num_bytes - _LENGTH_BYTES):
        raise SafetensorError(
            f"its header should have {length:,} bytes, the whole file has {num_bytes:,} and a header at most "
            f"{_LONGEST_HEADER:,}"
        )
    return length


def _places(header: bytes, num_bytes: int) -> dict[str, _Place]:
    """Every tensor of a header that describes ``num_bytes``; each byte belongs to one of them."""
    try:
        entries = json.loads(header)
        places = {name: _place(entry, num_bytes) for name, entry in entries.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise SafetensorError(f"its header is not understood ({type(exc).__name__}: {exc})") from exc
    begun = 0
    for place in sorted(places.values(), key=lambda place: (place.begin, place.end)):
        if place.begin != begun:
            raise SafetensorError(f"its header leaves bytes out or uses them twice, at {place.begin:,}")
        begun = place.end
    if begun != num_bytes:
        raise SafetensorError(f"its header describes {begun:,} of the {num_bytes:,} bytes behind it")
    return places


def _place(entry: Mapping[str, Any], num_bytes: int) -> _Place:
    dtype, shape, (begin, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    are_whole = all(type(number) is int and 0 <= number <= _LARGEST for number in (*shape, begin, end))
    if len(shape) > _MAX_AXES or not are_whole:
        raise ValueError(f"shape {shown(shape)} or bytes {shown((begin, end))} are not valid")
    if not begin <= end <= num_bytes or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"shape {shape} does not fit bytes {begin} to {end}")
    return _Place(dtype, tuple(shape), begin, end)


def _view(content: bytearray, data: int, place: _Place) -> Tensor:
    if place.begin == place.end:
        return torch.empty(place.shape, dtype=place.dtype)
    count, offset = math.prod(place.shape), data + place.begin
    return torch.frombuffer(content, dtype=place.dtype, count=count, offset=offset).view(place.shape)
