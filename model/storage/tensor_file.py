"""Tensors out of the bytes of a safetensors file, without copying them.

``safetensors.load`` copies every tensor while it holds the interpreter's lock: some five milliseconds a set, in which
neither the event loop nor the device thread of a service moves.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

_DTYPES = {"F16": torch.float16, "F32": torch.float32}  # what adapter sets are stored in
_LENGTH_BYTES = 8  # of the header's length, little-endian, in front of the header


def tensors_in(content: bytearray) -> dict[str, Tensor]:
    """Views of ``content``, which they keep alive and which must not change any more.

    Raises:
        SafetensorError: It is no safetensors file, or holds other numbers than float16 and float32.
    """
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    data = _LENGTH_BYTES + length
    if len(content) < _LENGTH_BYTES or data > len(content):
        raise SafetensorError(f"its header should have {length:,} bytes, the whole file has {len(content):,}")
    try:
        header = json.loads(bytes(content[_LENGTH_BYTES:data]))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _view(content, data, entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise SafetensorError(f"its header is not understood ({type(exc).__name__}: {exc})") from exc


def _view(content: bytearray, data: int, entry: Mapping[str, Any]) -> Tensor:
    dtype, shape, (begin, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    count = math.prod(shape)
    if (
        not 0 <= begin <= end <= len(content) - data
        or end - begin != count * dtype.itemsize
        or min(shape, default=1) < 0
    ):
        raise ValueError(f"shape {shape} does not fit bytes {begin} to {end}")
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=dtype, count=count, offset=data + begin).view(shape)
