"""The compiled code where memory is short: whichever allocation fails, an error and an unchanged cache, or a result."""

import ctypes
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adavae.model.adavae import pad
from adavae.model.config import WeightFormat
from adavae.model.kernel.backbone_kernel import BackboneKernel
from adavae.model.kernel.build_hook import NotBuilt, compiler_of
from adavae.model.kernel.library import Int8Way, Library
from adavae.model.kernel.training_gelu import gelu_tanh
from tests.parity.compiled import best_compiled
from tests.parity.test_kernel_decode import Model, tokens_of
from tests.parity.test_kernel_encode import SETS, texts_of
from tests.tiny import TINY

SOURCE = Path(__file__).with_name("failing_allocation.cpp")
SLOTS = [0, 1, 2, 0]


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that lets allocations fail."""
    path = tmp_path_factory.mktemp("failing") / "failing_allocation.so"
    try:
        command = [compiler_of(os.environ), "-std=c++20", "-O1", "-fPIC", "-shared", str(SOURCE), "-o", str(path)]
    except NotBuilt as exc:
        pytest.skip(str(exc))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize(("num_threads", "weight_format"), [(1, WeightFormat.FLOAT16), (2, WeightFormat.INT8)])
@pytest.mark.parametrize("work", ["decode_step", "encode"])
def test_whichever_allocation_fails_there_is_an_error_or_a_result(
    failing: Path, work: str, num_threads: int, weight_format: WeightFormat
) -> None:
    """A step that failed within its phases left its new positions filled, and with a helper it ended the process."""
    if weight_format is WeightFormat.INT8 and best_compiled().int8_way is Int8Way.NONE:
        pytest.skip("this processor, or what was compiled for it, does not multiply bytes")
    call = f"as_memory_ends({work}, {num_threads}, {weight_format.value!r})"
    command = [sys.executable, "-W", "ignore", "-c", f"from {__name__} import *; {call}"]
    environ = {**os.environ, "LD_PRELOAD": str(failing)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


class ShortOfMemory:
    """Lets one allocation fail in every call of a library.

    Attributes:
        number: Which one, from 1 on.
        has_failed: Whether the last call made as many.
    """

    def __init__(self, whole: Library) -> None:
        self._failing = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self.number, self.has_failed = 1, False
        self.library = replace(whole, decode_step=self._short(whole.decode_step), encode=self._short(whole.encode))

    def _short(self, function: Callable[..., int]) -> Callable[..., int]:
        def call(*arguments: object) -> int:
            self._failing.fail_allocation(ctypes.c_int64(self.number))
            try:
                return function(*arguments)
            finally:
                self.has_failed = bool(self._failing.end_failures())

        return call


def decode_step(model: Model) -> Tensor:
    cache, before = model.cache(SLOTS), model.cache(SLOTS)
    try:
        return model.kernel.decode_step(tokens_of(len(SLOTS))[0], cache, model.sets(SLOTS))
    except MemoryError:
        assert torch.equal(cache.lengths, before.lengths) and torch.equal(cache.is_filled, before.is_filled)
        raise


def encode(model: Model) -> Tensor:
    token_ids, mask = pad(texts_of([3, 9, 1, 6]), 0)
    return model.kernel.encode_hidden(token_ids, mask, model.sets(SLOTS))


@torch.inference_mode()
def as_memory_ends(work: Callable[[Model], Tensor], num_threads: int, weight_format: str) -> None:
    """One allocation of ``work`` after the other fails, until none is left."""
    torch.set_num_threads(num_threads)
    whole = best_compiled()
    model, short, num_refused = Model(whole, sets=SETS), ShortOfMemory(whole), 0
    weights = model.backbone.state_dict()
    model.kernel = BackboneKernel(TINY, weights, short.library, WeightFormat(weight_format))
    gelu_tanh(torch.zeros(4, dtype=torch.bfloat16))  # starts the threads
    for short.number in itertools.count(1):
        try:
            got = work(model)
        except MemoryError:
            num_refused += 1
        if not short.has_failed:
            break
    assert num_refused > 50
    model.kernel.library = whole
    assert torch.equal(got, work(model))
