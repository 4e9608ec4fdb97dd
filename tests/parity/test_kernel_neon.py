"""The compiled code for ARM: whatever the other tests of it say of a library that they are given, of this one too.

It runs in an emulator where this machine is not an ARM one (``tests/arm``), with the same tolerances as anywhere.
"""

from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest
import torch

from adavae.model.kernel.library import Int8Way, Library
from adavae.model.kernel.packing import KeptTensors
from tests.arm.emulated import compiled_for_arm, on_processor
from tests.parity import (
    test_kernel_decode,
    test_kernel_encode,
    test_kernel_flow,
    test_kernel_int8,
    test_kernel_latent,
    test_kernel_loss,
    test_kernel_products,
)
from tests.parity.compiled import best_compiled
from tests.parity.test_kernel_decode import Model, tokens_of
from tests.parity.test_kernel_int8 import check_int8_times_float32, numbers_of, product

OLD, NEW = "cortex-a72", "neoverse-n1"  # which does not multiply bytes, and which does
OF_THIS_PROCESS = {  # its threads and its children, and not of a library
    "test_callers_on_many_threads_do_not_disturb_each_other",
    "test_a_forked_process_decodes_without_the_threads_it_left_behind",
}
_KINDS = {
    "products": test_kernel_products,
    "decode": test_kernel_decode,
    "encode": test_kernel_encode,
    "latent": test_kernel_latent,
    "flow": test_kernel_flow,
    "int8": test_kernel_int8,
    "loss": test_kernel_loss,
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled_for_arm(tmp_path_factory.mktemp("arm"))


@pytest.fixture(scope="module")
def compiled(built: Path) -> Iterator[Library]:
    with on_processor(built, NEW) as found:
        yield found


for _kind, _module in _KINDS.items():
    for _name, _test in vars(_module).items():
        if _name.startswith("test_") and "compiled" in signature(_test).parameters and _name not in OF_THIS_PROCESS:
            globals()[_name.replace("test_", f"test_{_kind}_", 1)] = _test


@pytest.mark.parametrize("num_rows", [1, 5, 6, 7])
def test_int8_times_float32_is_the_rounded_weight_times_the_row(compiled: Library, num_rows: int) -> None:
    check_int8_times_float32(compiled, num_rows)


@torch.inference_mode()
def test_logits_are_near_to_those_of_this_machines_library(compiled: Library) -> None:
    slots = [0, 1, 2, 2]
    here, there = (Model(one).steps(slots, tokens_of(len(slots))) for one in (best_compiled(), compiled))
    torch.testing.assert_close(there, here, atol=1e-5, rtol=1e-5)


def test_products_of_bytes_are_those_of_this_machines_library_bit_for_bit(compiled: Library) -> None:
    if best_compiled().int8_way is Int8Way.NONE:
        pytest.skip("this processor does not multiply bytes")
    (x, weight), kept = numbers_of(20, 90, 200), KeptTensors()
    matrix = kept.int8_four_matrix(weight, None)
    assert torch.equal(product(compiled, matrix, x), product(best_compiled(), matrix, x))


@torch.inference_mode()
def test_an_older_processor_gives_the_same_bits_and_multiplies_no_bytes(compiled: Library, built: Path) -> None:
    slots = [0, 1, 2, 2]
    with on_processor(built, OLD) as older:
        assert (older.int8_way, compiled.int8_way) == (Int8Way.NONE, Int8Way.DOT)
        one, other = (Model(each).steps(slots, tokens_of(len(slots))) for each in (older, compiled))
    assert torch.equal(one, other)
