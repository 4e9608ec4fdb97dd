"""Reading safetensors without a copy: what the library writes, and what nobody should have written."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from adavae.model.storage.tensor_file import tensors_in


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "half": torch.randn(3, 5, generator=generator).half(),
        "single": torch.randn(7, generator=generator),
        "number": torch.tensor(2.5),
        "nothing": torch.zeros(0, 4),
    }


def written(header: Any, data: bytes = b"") -> bytearray:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return bytearray(len(encoded).to_bytes(8, "little") + encoded + data)


def entry(**changes: Any) -> dict[str, Any]:
    return {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


def test_what_the_library_writes_is_read_as_it_reads_it() -> None:
    content = safetensors.save(tensors(), metadata={"format": "pt"})
    found, expected = tensors_in(bytearray(content)), safetensors.load(content)
    assert found.keys() == expected.keys() == tensors().keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


def test_tensors_are_views_of_what_was_read() -> None:
    content = bytearray(safetensors.save({"x": torch.ones(4)}))
    found = tensors_in(content)["x"]
    content[-4:] = bytes(4)
    assert found.tolist() == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    "content",
    [
        bytearray(),
        bytearray(b"\x01"),
        bytearray((2**63).to_bytes(8, "little")),
        written(b"not JSON"),
        written(b"\xff\xfe"),
        written([1, 2]),
        written({"x": 3}),
        written({"x": {}}),
        written(b"[" * 100_000),
        written(entry(dtype="I64"), bytes(16)),
        written(entry(dtype=["F32"]), bytes(8)),
        written(entry(shape=[3]), bytes(8)),
        written(entry(shape=[-1, -2]), bytes(8)),
        written(entry(shape="2"), bytes(8)),
        written(entry(shape=[2.0]), bytes(8)),
        written(entry(shape=[2**62, 4]), bytes(8)),
        written(entry(data_offsets=[0, 8]), bytes(7)),
        written(entry(data_offsets=[-8, 0]), bytes(8)),
        written(entry(data_offsets=[8, 0]), bytes(8)),
        written(entry(data_offsets=[0]), bytes(8)),
        written(entry(data_offsets=["0", "8"]), bytes(8)),
    ],
    ids=lambda content: bytes(content[8:60]).decode(errors="replace"),
)
def test_what_is_no_such_file_is_refused(content: bytearray) -> None:
    with pytest.raises(SafetensorError, match="header"):
        tensors_in(content)


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_stays_within_the_file(place: int, value: int) -> None:
    content = bytearray(safetensors.save(tensors()))
    content[place % len(content)] = value
    try:
        found = tensors_in(content)
    except SafetensorError:
        return
    assert sum(tensor.nbytes for tensor in found.values()) <= len(content)
