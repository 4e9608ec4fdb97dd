"""Where panels lie: one after the other, in pages as large as the system grants."""

import ctypes
import mmap
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from adavae.model.kernel.library import PANEL, MatrixFields, Numbers
from adavae.model.kernel.packing import KeptTensors, write_panels

pytestmark = pytest.mark.skipif(
    not hasattr(mmap, "MADV_HUGEPAGE"), reason="Only Linux has pages that can be asked for."
)


def written(kept: KeptTensors, weights: list[Tensor]) -> list[MatrixFields]:
    return [kept.matrix(weight, None) for weight in weights]


def halves_at(matrix: MatrixFields) -> Tensor:
    """What lies where the compiled code reads the panels."""
    num_panels = -(-matrix.out_features // PANEL)
    shape = (num_panels, matrix.in_features, PANEL)
    assert matrix.numbers == Numbers.FLOAT16
    content = ctypes.string_at(matrix.panels, 2 * num_panels * matrix.in_features * PANEL)
    return torch.frombuffer(bytearray(content), dtype=torch.float16).view(shape)


def refuse(*_: object, **__: object) -> None:
    raise OSError("not granted")


class Small(mmap.mmap):
    """Memory whose pages stay small."""

    def madvise(self, *_: object) -> None:
        raise OSError("not granted")


@pytest.mark.parametrize("granted", [mmap.mmap, refuse, Small], ids=["asked for", "no memory mapped", "not granted"])
def test_panels_are_the_same_in_pages_of_any_size(
    monkeypatch: pytest.MonkeyPatch, granted: Callable[..., object]
) -> None:
    monkeypatch.setattr("adavae.model.kernel.packing.mmap.mmap", granted)
    weights = [torch.randn(out, 70).half().float() for out in (1, PANEL, PANEL + 1)]
    kept = KeptTensors(is_large=True)
    for weight, matrix in zip(weights, written(kept, weights), strict=True):
        expected = torch.zeros_like(halves_at(matrix))
        write_panels(weight, expected)
        assert torch.equal(halves_at(matrix), expected)


def test_matrices_lie_one_after_the_other_and_what_needs_more_has_a_block_of_its_own() -> None:
    kept = KeptTensors(is_large=True)
    small, larger = torch.zeros(PANEL, 64), torch.zeros(PANEL, 600_000)  # 4 KiB, and more than a block
    first, second, alone = written(kept, [small, small, larger])
    assert second.panels - first.panels == 2 * small.numel()
    assert not 0 <= alone.panels - first.panels < 2 * small.numel()
    assert not halves_at(alone).any()
