"""transformers' GPT-2 with the same weights, as oracle and as peer; None where it is not installed."""

from typing import Any

import torch
from torch import Tensor

from adavae.model.backbone import Backbone

_TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


def transformers_twin(
    backbone: Backbone, dtype: torch.dtype, device: torch.device, num_layers: int | None = None
) -> Any:
    """GPT2LMHeadModel; ``num_layers`` of its first blocks, or all."""
    try:
        import transformers
    except ImportError:
        return None
    values = backbone.config.to_hugging_face()
    values.pop("dtype", None)
    values["n_layer"] = num_layers or backbone.config.n_layer
    config = transformers.GPT2Config(**values)
    with torch.device(device):
        twin = transformers.GPT2LMHeadModel(config)
    twin = twin.to(device=device, dtype=dtype).eval().requires_grad_(False)
    by_their_name = {_their_name(name): tensor for name, tensor in backbone.named_parameters()}
    for name, parameter in twin.named_parameters():
        parameter.copy_(_as_theirs(name, by_their_name[name]))
    return twin


def _their_name(our_name: str) -> str:
    return our_name if our_name == "lm_head.weight" else "transformer." + our_name.replace("blocks.", "h.", 1)


def _as_theirs(name: str, tensor: Tensor) -> Tensor:
    return tensor.T if name.endswith(_TRANSPOSED) else tensor
