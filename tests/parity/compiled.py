"""The compiled library, for tests that need it; why they skip stands here alone."""

import platform

import pytest
import torch

from adavae.model.kernel.library import Library, library, variant

_ON_X86 = {"avx512": {"AVX512"}, "avx2": {"AVX512", "AVX2"}}  # by what torch finds that the processor can do
RUNS = ("neon",) if platform.machine() == "aarch64" else tuple(_ON_X86)
_HINT = "nothing is compiled here: python model/kernel/build_hook.py does, given g++ on Linux (x86-64, aarch64)"


def compiled_for(instructions: str) -> Library:
    """One variant; the test is skipped where this processor does not run it, or it was not built."""
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in _ON_X86.get(instructions, {capability}):
        pytest.skip(f"this processor does not run {instructions} (torch finds {capability})")
    return _built(variant(instructions))


def best_compiled() -> Library:
    """What serves here; the test is skipped where PyTorch does."""
    return _built(library())


def _built(found: Library | None) -> Library:
    if found is None:
        pytest.skip(_HINT)
    return found
