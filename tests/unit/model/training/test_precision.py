"""Where matrices are multiplied in bfloat16: if that is asked for, or where the hardware does it."""

import pytest
import torch

from adavae.model.training.config import Precision
from adavae.model.training.precision import multiplies_bfloat16, uses_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize("has_amx", [False, True])
@pytest.mark.parametrize("has_avx512", [False, True])
def test_by_itself_a_processor_with_instructions_for_it(
    has_amx: bool, has_avx512: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_avx512)
    assert uses_bfloat16(Precision.AUTO, CPU) is (has_amx or has_avx512)
    assert uses_bfloat16(Precision.BFLOAT16, CPU) and not uses_bfloat16(Precision.FLOAT32, CPU)


def test_a_gpu_that_emulates_it_has_no_instructions_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A T4 was taken for one that has: torch counts every GPU that can hold such a number."""
    monkeypatch.setattr(torch.cuda, "device", lambda _: _Nothing())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert not multiplies_bfloat16(torch.device("cuda"))


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
