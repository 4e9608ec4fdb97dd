"""The frozen GPT-2: one copy of the weights, used twice (causal decoder, unmasked encoder).

The blocks are our own because rows of one batch may use different adapter sets and because keys and values made from z
stand in front of the text's. ``storage.pretrained`` loads the weights; ``parts.bottleneck`` computes the adapters.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adavae.model.config import Activation, BackboneConfig, WeightFormat
from adavae.model.kernel.backbone_kernel import BackboneKernel
from adavae.model.kernel.training_gelu import gelu_tanh
from adavae.model.projection import Projection

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.GELU_NEW: gelu_tanh,
    Activation.GELU_TANH: gelu_tanh,
    Activation.GELU: F.gelu,
    Activation.RELU: F.relu,
}


class BlockAdapters(Protocol):
    """What a block calls of the trained parts beside it; ``parts.bottleneck.RowAdapters`` is the one implementation."""

    def on_attention(self, x: Tensor, attended: Tensor) -> Tensor:
        """The attention output as the residual stream receives it, (B, T, C)."""
        ...

    def on_ffn(self, x: Tensor, transformed: Tensor) -> Tensor:
        """The MLP output as the residual stream receives it, (B, T, C)."""
        ...


class KeyValueStore(Protocol):
    """Where attention finds the keys and values of earlier positions (``kv_cache``)."""

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Takes the new positions' keys and values, (B, H, T, D); returns all that may be attended to."""
        ...


class Attention(nn.Module):
    """Multi-head self-attention over the text's positions and whatever ``store`` puts in front of them."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.n_head, self.head_size = config.n_head, config.head_size
        self.c_attn = Projection(config.n_embd, 3 * config.n_embd)
        self.c_proj = Projection(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, mask: Tensor | None, store: KeyValueStore | None) -> Tensor:
        """Attends from every position of ``x``.

        Args:
            x: Normalised hidden states, (B, T, C).
            mask: True where a query may look, or numbers added to the scores, broadcastable to (B, H, T, T_all); None
                for everywhere.
            store: Keeps or supplies further keys and values; None to attend to the text alone.

        Returns:
            Attention output, (B, T, C).
        """
        B, T, C = x.shape
        qkv = self.c_attn(x).view(B, T, 3, self.n_head, self.head_size)
        query, keys, values = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if store is not None:
            keys, values = store.extend(keys, values)  # (B, H, T_all, D)
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        output: Tensor = self.c_proj(attended.transpose(1, 2).reshape(B, T, C))
        return output


class MLP(nn.Module):
    """GPT-2's two-layer feed-forward network."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.c_fc = Projection(config.n_embd, config.n_inner)
        self.c_proj = Projection(config.n_inner, config.n_embd)
        self.activation = _ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.c_proj(self.activation(self.c_fc(x)))
        return output


class Block(nn.Module):
    """One pre-norm transformer block with room for adapters on both of its branches."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        store: KeyValueStore | None = None,
        adapters: BlockAdapters | None = None,
    ) -> Tensor:
        """Residual stream in, residual stream out, both (B, T, C)."""
        attended = self.attn(self.ln_1(x), mask, store)
        x = x + (attended if adapters is None else adapters.on_attention(x, attended))
        transformed = self.mlp(self.ln_2(x))
        x = x + (transformed if adapters is None else adapters.on_ffn(x, transformed))
        return x


class Backbone(nn.Module):
    """A GPT-2 checkpoint: embeddings, blocks, final layer norm, output embedding.

    Attributes:
        kernel: The compiled blocks, once ``pack`` has prepared it; None where there is none for this machine.
    """

    kernel: BackboneKernel | None = None

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.lm_head = Projection(config.n_embd, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.wte.weight

    def embed(self, token_ids: Tensor, positions: Tensor) -> Tensor:
        """Token plus position embedding.

        Args:
            token_ids: (B, T), int64.
            positions: Position of each token within its text, broadcastable to (B, T), int64.

        Returns:
            Residual stream, (B, T, C).
        """
        embedded: Tensor = self.wte(token_ids) + self.wpe(positions)
        return embedded

    def forward(self, token_ids: Tensor) -> Tensor:
        """The bare causal language model, as the checkpoint's authors ran it.

        Args:
            token_ids: (B, T), int64, T at most ``n_positions``.

        Returns:
            Next-token logits, (B, T, V).
        """
        return self.logits(self.hidden_states(token_ids))

    def hidden_states(self, token_ids: Tensor, positions: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """``forward`` without the output embedding.

        Args:
            token_ids: (B, T), int64.
            positions: Of each token within its text, (B, T), int64; None where a row is one text.
            mask: True where a query may look, (B, 1, T, T); None for the usual causal mask.

        Returns:
            (B, T, C).
        """
        T = token_ids.shape[1]
        if positions is None:
            positions = torch.arange(T, device=token_ids.device)
        if mask is None:
            mask = causal_mask(T, device=token_ids.device)
        x = self.embed(token_ids, positions)
        for block in self.blocks:
            x = block(x, mask)
        hidden: Tensor = self.ln_f(x)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Normalised hidden states, (..., C), to logits, (..., V)."""
        logits: Tensor = self.lm_head(hidden)
        return logits

    def pack(self, weight_format: WeightFormat = WeightFormat.FLOAT16) -> None:
        """Prepares the compiled blocks, or else each matrix for few rows; only for weights that will not change."""
        self.kernel = BackboneKernel.of(self.config, self.state_dict(), weight_format)
        for module in self.modules():
            if isinstance(module, Projection) and self.kernel is None:
                module.pack()

    def __getstate__(self) -> dict[str, Any]:
        """A copy may be cast or trained: it begins without the kernel, which holds the weights as they were."""
        return {name: value for name, value in self.__dict__.items() if name != "kernel"}

    @property
    def computes_by(self) -> str:
        """What computes the blocks: the compiled kernel's ``avx512``, ``avx2`` or ``neon``, or ``pytorch``."""
        return "pytorch" if self.kernel is None else self.kernel.library.instructions

    @property
    def weight_format(self) -> WeightFormat:
        """What the compiled blocks keep the weights as; PyTorch's are as they were loaded."""
        return WeightFormat.FLOAT16 if self.kernel is None else self.kernel.weight_format

    @property
    def num_parameters(self) -> int:
        """Every parameter once; tied embeddings count as one."""
        return sum(parameter.numel() for parameter in self.parameters())


def causal_mask(num_tokens: int, num_memory: int = 0, *, device: torch.device | None = None) -> Tensor:
    """True where a query may look: every memory position, itself and earlier tokens.

    Returns:
        (T, M + T), bool.
    """
    mask = torch.ones(num_tokens, num_memory + num_tokens, dtype=torch.bool, device=device)
    return mask.tril(diagonal=num_memory)
