"""The compiled library, for tests that need it; why they skip stands here alone."""

import pytest
import torch

from adavae.model.kernel.library import Library, library, variant

RUNS = {"avx512": {"AVX512"}, "avx2": {"AVX512", "AVX2"}}  # by what torch finds that the processor can do
_HINT = "nothing is compiled here: python model/kernel/build_hook.py does, given g++ on x86-64 Linux"


def compiled_for(instructions: str) -> Library:
    """One variant; the test is skipped where this processor does not run it, or it was not built."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in RUNS[instructions]:
        pytest.skip(f"this processor does not run {instructions} (torch finds {capability})")
    return _built(variant(instructions))


def best_compiled() -> Library:
    """What serves here; the test is skipped where PyTorch does."""
    return _built(library())


def _built(found: Library | None) -> Library:
    if found is None:
        pytest.skip(_HINT)
    return found
