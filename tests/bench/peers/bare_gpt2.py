"""GPT-2's first blocks without a causal mask, to be exported: what our encoder computes, less the adapters."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F


class BareEncoder(nn.Module):
    """Token ids and mask, (B, T) each, int64, to hidden states, (B, T, C)."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.depth = int((folder / "depth").read_text())
        for name, tensor in load_file(folder / "model.safetensors").items():
            self.register_buffer(name.removeprefix("transformer.").replace(".", "_"), tensor.float())

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        x = self.wte_weight[token_ids] + self.wpe_weight[: token_ids.shape[1]]
        unseen = (1.0 - mask[:, None, None, :].float()) * -1e9
        for layer in range(self.depth):
            x = x + self._attention(self._norm(x, f"h_{layer}_ln_1"), unseen, f"h_{layer}_attn")
            x = x + self._mlp(self._norm(x, f"h_{layer}_ln_2"), f"h_{layer}_mlp")
        return self._norm(x, "ln_f")

    def _attention(self, x: Tensor, unseen: Tensor, name: str) -> Tensor:
        H, C = self.config["n_head"], self.config["n_embd"]  # not of x's shape, which an export leaves open
        B, T = x.shape[0], x.shape[1]
        qkv = self._linear(x, f"{name}_c_attn").reshape(B, T, 3, H, C // H).permute(2, 0, 3, 1, 4)
        query, keys, values = qkv[0], qkv[1], qkv[2]
        scores = query @ keys.transpose(-1, -2) * (C // H) ** -0.5 + unseen
        attended = (scores.softmax(-1) @ values).transpose(1, 2).reshape(B, T, C)
        return self._linear(attended, f"{name}_c_proj")

    def _mlp(self, x: Tensor, name: str) -> Tensor:
        return self._linear(F.gelu(self._linear(x, f"{name}_c_fc"), approximate="tanh"), f"{name}_c_proj")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return x @ getattr(self, f"{name}_weight") + getattr(self, f"{name}_bias")

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
        return F.layer_norm(x, (self.config["n_embd"],), weight, bias, self.config["layer_norm_epsilon"])


def export(folder: Path, target: Path) -> None:
    """As ONNX, for any number and length of texts."""
    ids = torch.ones(2, 5, dtype=torch.int64)
    axes = {0: "texts", 1: "tokens"}
    torch.onnx.export(
        BareEncoder(folder).eval(),
        (ids, ids),
        str(target),
        input_names=["token_ids", "mask"],
        output_names=["hidden"],
        dynamic_axes={"token_ids": axes, "mask": axes, "hidden": axes},
        opset_version=17,
        dynamo=False,
    )
