"""The linear layers around z, compiled: the fast twin of ``posterior`` and ``pseudo_self_attention``.

Every adapter set is computed at its own size, not at that of the bank's widest, and read as float16 where that is
exact. A row's results are the same, bit for bit, whatever else is in the batch.
"""

import ctypes
from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor

from adavae.model.kernel.choice import library_for
from adavae.model.kernel.library import LatentMemoryFields, Library, PosteriorFields, check, pointers
from adavae.model.kernel.packing import PackedAdapterSet


class LatentKernel:
    """The compiled code for the rows of a float32 bank on a CPU."""

    def __init__(self, compiled: Library) -> None:
        self._library = compiled

    @classmethod
    def of(cls, like: Tensor) -> Optional["LatentKernel"]:
        """None if there is no compiled library, or it does not support tensors like ``like``."""
        compiled = library_for(like)
        return None if compiled is None else cls(compiled)

    def posterior(self, v_z: Tensor, sets: Sequence[PackedAdapterSet], latent_size: int) -> tuple[Tensor, Tensor]:
        """As ``PosteriorHeads``, without clamping.

        Args:
            v_z: (B, at least the width that the widest of ``sets`` reads).
            sets: The rows' packed sets.
            latent_size: Z.

        Returns:
            mu and logvar, (B, Z) each, zero beyond a set's own size.

        Raises:
            MemoryError: Not enough memory for the buffers.
        """
        v_z = v_z.contiguous()
        mu, logvar = torch.zeros(2, len(v_z), latent_size)
        task = PosteriorFields(
            num_rows=len(v_z),
            num_threads=torch.get_num_threads(),
            sets=pointers([adapter_set.latent for adapter_set in sets]),
            v_z=v_z.data_ptr(),
            v_z_width=v_z.shape[1],
            mu=mu.data_ptr(),
            logvar=logvar.data_ptr(),
            latent_size=latent_size,
        )
        check(self._library.posteriors(ctypes.byref(task)))
        return mu, logvar

    def memory(
        self, z: Tensor, sets: Sequence[PackedAdapterSet], *, n_layer: int, n_embd: int, first_atm: int, positions: int
    ) -> tuple[Tensor, Tensor]:
        """As ``LatentMemory``.

        Args:
            z: (B, Z).
            sets: The rows' packed sets.
            n_layer: L.
            n_embd: C.
            first_atm: First position of add-to-memory.
            positions: M', the positions of both infusions.

        Returns:
            Keys and values, (L, B, M', C) each, zero at positions that a row's set does not have.

        Raises:
            MemoryError: Not enough memory for the buffers.
        """
        z = z.contiguous()
        keys_values = torch.empty(n_layer, len(z), positions, 2 * n_embd)
        task = LatentMemoryFields(
            num_rows=len(z),
            num_threads=torch.get_num_threads(),
            sets=pointers([adapter_set.latent for adapter_set in sets]),
            z=z.data_ptr(),
            latent_size=z.shape[1],
            n_layer=n_layer,
            n_embd=n_embd,
            first_atm=first_atm,
            num_positions=positions,
            int8_way=self._library.int8_way,
            keys_values=keys_values.data_ptr(),
        )
        check(self._library.latent_memory(ctypes.byref(task)))
        keys, values = keys_values.chunk(2, dim=-1)
        return keys, values
