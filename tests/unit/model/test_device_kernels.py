"""Which kernels a device gets: Triton's where they can be compiled, else PyTorch's, with the reason in the log."""

import logging
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from adavae.model.gpu import device_kernels
from adavae.model.gpu.device_kernels import kernels_for
from adavae.model.gpu.kernels import PlainKernels

GPU = torch.device("cuda")


class Compiled:
    """In the place of Triton's kernels, which need a GPU."""


@pytest.fixture(autouse=True)
def _triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_kernels, "find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "adavae.model.gpu.triton_kernels", SimpleNamespace(TritonKernels=Compiled))  # type: ignore[arg-type]


def launching(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    def launch(*_: Any) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(device_kernels, "_launch", launch)


def test_a_gpu_gets_tritons_and_a_cpu_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    launching(monkeypatch, None)
    assert isinstance(kernels_for(GPU), Compiled)
    assert isinstance(kernels_for(torch.device("cpu")), PlainKernels)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("Failed to find C compiler"), PermissionError(13, "read-only file system"), OSError("noexec")],
)
def test_where_nothing_can_be_compiled_the_service_answers_more_slowly_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """A container without a compiler died at its first step, and was started again without end."""
    launching(monkeypatch, error)
    with caplog.at_level(logging.WARNING):
        assert isinstance(kernels_for(GPU), PlainKernels)
    assert str(error) in caplog.text and "TRITON_CACHE_DIR" in caplog.text


def test_memory_that_is_used_up_is_no_lack_of_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    launching(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        kernels_for(GPU)
