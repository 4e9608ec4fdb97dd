"""The flow over z, compiled: the fast twin of ``latent.flow.integrate``.

Its matrices are read as float16 where that is exact, and where a row ends is the same, bit for bit, whatever other rows
are led beside it.
"""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adavae.model.kernel.library import FlowBlockFields, FlowFields, FlowPathFields, Library, check
from adavae.model.kernel.packing import KeptTensors


class FlowKernel:
    """A network of velocities, packed; its weights never change."""

    def __init__(
        self,
        compiled: Library,
        *,
        into: nn.Linear,
        blocks: Sequence[tuple[nn.LayerNorm, nn.Linear, nn.Linear]],
        norm: nn.LayerNorm,
        out: nn.Linear,
    ) -> None:
        """``blocks`` are norm, up and down of each; all norms have the same epsilon."""
        self._library, self._kept = compiled, KeptTensors()
        kept = self._kept
        fields = [
            FlowBlockFields(
                kept.norm(block_norm.weight, block_norm.bias),
                kept.matrix(up.weight, up.bias),
                kept.matrix(down.weight, down.bias),
            )
            for block_norm, up, down in blocks
        ]
        self._flow = FlowFields(  # which keeps alive the array that it points at
            input=kept.matrix(into.weight, into.bias),
            blocks=(FlowBlockFields * len(fields))(*fields),
            norm=kept.norm(norm.weight, norm.bias),
            output=kept.matrix(out.weight, out.bias),
            depth=len(fields),
            epsilon=norm.eps,
        )

    def integrate(self, z: Tensor, times: Tensor, moments: Tensor, labels: Tensor, guidance: float) -> Tensor:
        """Follows the flow by Heun's method.

        Args:
            z: Where the rows begin, (N, Z), float32.
            times: (T + 1,), float32.
            moments: What every block adds at each of these times, (T + 1, depth, width).
            labels: What each row's label adds, (N, width), or (2 N, width) with what "any" adds behind it, where
                the flow is guided.
            guidance: w in v + w (v_label - v); of no account where ``labels`` are N.

        Returns:
            Where the rows end, (N, Z).

        Raises:
            MemoryError: Not enough memory for the buffers.
        """
        ends = z.contiguous().clone()
        times, moments, labels = times.contiguous(), moments.contiguous(), labels.contiguous()
        path = FlowPathFields(
            num_rows=len(ends),
            num_threads=torch.get_num_threads(),
            num_steps=len(times) - 1,
            is_guided=len(labels) > len(ends),
            guidance=guidance,
            times=times.data_ptr(),
            moments=moments.data_ptr(),
            labels=labels.data_ptr(),
            z=ends.data_ptr(),
        )
        check(self._library.flow(ctypes.byref(self._flow), ctypes.byref(path)))
        return ends
