"""Attention as training computes it on a CPU: plain, and with bfloat16 scores where its inputs are bfloat16.

The fused one's backward pass is several times slower at sentence length. Plain attention would widen bfloat16 to
float32 first and narrow what comes of it, which takes longer than its products.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def plain_attention() -> Iterator[None]:
    """Within, ``scaled_dot_product_attention`` is plain."""
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)
