"""The blocks of a frozen float32 backbone on a CPU, compiled: the fast twin of the PyTorch code in ``adavae``.

In PyTorch a decoding step is some two hundred operations, each divided among threads separately; here it is one program
of forty phases, and weights are read as float16 where that is exact, or as int8 (``WeightFormat``). Texts are encoded
without padding. A row's logits and a text's hidden states are the same, bit for bit, whatever else is in the batch.
"""

import ctypes
import logging
from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor

from adavae.model.config import Activation, BackboneConfig, WeightFormat
from adavae.model.kernel.choice import library_for
from adavae.model.kernel.library import (
    MOST_INT8_FEATURES,
    BackboneFields,
    Int8Way,
    LayerFields,
    Library,
    StepFields,
    TextsFields,
    check,
    pointers,
)
from adavae.model.kernel.packing import KeptTensors, PackedAdapterSet
from adavae.model.kv_cache import KVCache

_log = logging.getLogger("adavae.kernel")
_ACTIVATIONS = {Activation.GELU_NEW: 0, Activation.GELU_TANH: 0, Activation.GELU: 1, Activation.RELU: 2}


class BackboneKernel:
    """The compiled code for one backbone, whose weights are packed once.

    Attributes:
        weight_format: What its matrices are stored as.
        seconds: The time spent in each of ``library.KINDS`` is added here, (3,), float64; None to measure nothing.
    """

    def __init__(
        self,
        config: BackboneConfig,
        weights: Mapping[str, Tensor],
        compiled: Library,
        weight_format: WeightFormat = WeightFormat.FLOAT16,
    ) -> None:
        """``weights`` are a backbone's by name, in float32 on a CPU; they must not change afterwards."""
        kept = KeptTensors(is_large=True)
        matrix = kept.int8_four_matrix if weight_format is WeightFormat.INT8 else kept.matrix
        self._layers = (LayerFields * config.n_layer)()
        for layer, fields in enumerate(self._layers):
            of_block = f"blocks.{layer}"
            fields.ln_1 = kept.norm(*_both(weights, f"{of_block}.ln_1"))
            fields.ln_2 = kept.norm(*_both(weights, f"{of_block}.ln_2"))
            fields.c_attn = matrix(*_both(weights, f"{of_block}.attn.c_attn"))
            fields.attn_proj = matrix(*_both(weights, f"{of_block}.attn.c_proj"))
            fields.c_fc = matrix(*_both(weights, f"{of_block}.mlp.c_fc"))
            fields.mlp_proj = matrix(*_both(weights, f"{of_block}.mlp.c_proj"))
        self.fields = BackboneFields(
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_embd=config.n_embd,
            n_inner=config.n_inner,
            vocab_size=config.vocab_size,
            n_positions=config.n_positions,
            activation=_ACTIVATIONS[config.activation],
            epsilon=config.layer_norm_epsilon,
            int8_way=compiled.int8_way,
            wte=kept.address(weights["wte.weight"]),
            wpe=kept.address(weights["wpe.weight"]),
            ln_f=kept.norm(*_both(weights, "ln_f")),
            layers=self._layers,
            lm_head=matrix(weights["lm_head.weight"], None),
        )
        self._kept_tensors, self.library, self.weight_format = kept, compiled, weight_format
        self.seconds: Tensor | None = None
        self._vocab_size = config.vocab_size

    @classmethod
    def of(
        cls,
        config: BackboneConfig,
        weights: Mapping[str, Tensor],
        weight_format: WeightFormat = WeightFormat.FLOAT16,
    ) -> Self | None:
        """The kernel for a backbone, or None if there is no compiled library or it does not support these weights.

        Where int8 is wanted and cannot be multiplied, a line in the log says so and float16 is taken.
        """
        compiled = library_for(weights["wte.weight"])
        why_not = None if weight_format is WeightFormat.FLOAT16 else _why_no_int8(config, compiled)
        if why_not is not None:
            _log.warning("int8 weights were asked for, float16 is taken: %s", why_not)
            weight_format = WeightFormat.FLOAT16
        return None if compiled is None else cls(config, weights, compiled, weight_format)

    def decode_step(self, token_ids: Tensor, kv_cache: KVCache, sets: Sequence[PackedAdapterSet]) -> Tensor:
        """As ``AdaVAE.decode_step``; ``sets`` are the rows' packed sets.

        After an error rows have read nothing more, and may look where they could before.

        Raises:
            IndexError: A token outside the vocabulary, or no room for another position.
            MemoryError: Not enough memory for the step's buffers.
        """
        B, keys = len(token_ids), kv_cache.keys
        logits = torch.empty(B, self._vocab_size)
        step = StepFields(
            num_rows=B,
            num_memory=kv_cache.num_memory,
            width=keys.shape[3],
            num_threads=torch.get_num_threads(),
            token_ids=token_ids.data_ptr(),
            sets=pointers([adapter_set.decoder for adapter_set in sets]),
            lengths=kv_cache.lengths.data_ptr(),
            is_filled=kv_cache.is_filled.data_ptr(),
            is_filled_stride=kv_cache.is_filled.stride(0),
            keys=keys.data_ptr(),
            values=kv_cache.values.data_ptr(),
            layer_stride=keys.stride(0),
            row_stride=keys.stride(1),
            logits=logits.data_ptr(),
            seconds=None if self.seconds is None else self.seconds.data_ptr(),
        )
        check(self.library.decode_step(ctypes.byref(self.fields), ctypes.byref(step)))
        return logits

    def encode_hidden(self, token_ids: Tensor, attention_mask: Tensor, sets: Sequence[PackedAdapterSet]) -> Tensor:
        """As ``AdaVAE.encode_hidden``, for sets without a prefix; padding is zero.

        Raises:
            IndexError: A token outside the vocabulary, or a text longer than the backbone's context.
            MemoryError: Not enough memory for the buffers.
        """
        B, T = token_ids.shape
        hidden = torch.zeros(B, T, self.fields.n_embd)
        lengths, token_ids = attention_mask.sum(1), token_ids.contiguous()
        texts = TextsFields(
            num_texts=B,
            width=T,
            num_threads=torch.get_num_threads(),
            token_ids=token_ids.data_ptr(),
            lengths=lengths.data_ptr(),
            sets=pointers([adapter_set.encoder for adapter_set in sets]),
            hidden=hidden.data_ptr(),
            seconds=None if self.seconds is None else self.seconds.data_ptr(),
        )
        check(self.library.encode(ctypes.byref(self.fields), ctypes.byref(texts)))
        return hidden


def _why_no_int8(config: BackboneConfig, compiled: Library | None) -> str | None:
    if compiled is None:
        return "nothing is compiled for this machine, or the backbone is not in float32 on a CPU"
    if compiled.int8_way is Int8Way.NONE:
        return f"this processor, or what was compiled for it ({compiled.instructions}), does not multiply bytes"
    widest = max(config.n_embd, config.n_inner)
    if widest > MOST_INT8_FEATURES:
        return f"the backbone is {widest} wide, more than {MOST_INT8_FEATURES}: sums might not fit into 32 bits"
    return None


def _both(weights: Mapping[str, Tensor], layer: str) -> tuple[Tensor, Tensor]:
    """A layer's weight and bias."""
    return weights[f"{layer}.weight"], weights[f"{layer}.bias"]
