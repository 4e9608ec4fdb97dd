"""A training step of transformers' GPT-2 as a language model; variant ``full``, or ``lora`` by peft.

Its batches are those of ours: the same texts, predicted token by token with their ends. It has no encoder and no
latent. Weights are float32, under bfloat16 autocast where the processor multiplies it; the optimizer is AdamW, as
transformers' own trainer has them.
"""

import itertools
import json
from functools import partial

import torch
import transformers
from answering import answer, asked

LEARNING_RATE = {"full": 1e-4, "lora": 1e-3}
LORA_RANK = 16
MOST_TOKENS = 8192  # that go through the model at once
_IGNORED = -100  # a target that counts nothing
_HAS_BFLOAT16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()

folder, threads, variant = asked()
torch.set_num_threads(threads)
model = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).train()
if variant == "lora":
    import peft

    projections = ["c_attn", "c_proj", "c_fc"]
    config = peft.LoraConfig(r=LORA_RANK, lora_alpha=LORA_RANK, target_modules=projections, fan_in_fan_out=True)
    model = peft.get_peft_model(model, config)
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE[variant], fused=True)
end = model.config.eos_token_id


def padded(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    """End-of-text, the texts, end-of-text; what is behind counts nothing."""
    width = max(map(len, rows)) + 1
    inputs = [[end, *row, *[end] * (width - 1 - len(row))] for row in rows]
    labels = [[end, *row, end, *[_IGNORED] * (width - 1 - len(row))] for row in rows]
    mask = [[1] * (len(row) + 1) + [0] * (width - 1 - len(row)) for row in rows]
    targets = torch.tensor(labels)[:, 1:]  # transformers shifts: the last input predicts what stands behind it
    whole = torch.cat([torch.tensor(inputs), torch.full((len(rows), 1), end)], 1)
    return {
        "input_ids": whole,
        "attention_mask": torch.cat([torch.tensor(mask), torch.zeros(len(rows), 1, dtype=torch.int64)], 1),
        "labels": torch.cat([torch.full((len(rows), 1), _IGNORED), targets], 1),
    }


def parts(rows: list[list[int]]) -> list[list[list[int]]]:
    """The rows of a step in parts of at most MOST_TOKENS, as somebody with little memory would accumulate them."""
    most = max(1, MOST_TOKENS // (max(map(len, rows)) + 1))
    return [rows[first : first + most] for first in range(0, len(rows), most)]


def step(stream: "itertools.cycle[list[list[int]]]") -> int:
    """One update; returns its target tokens."""
    rows = next(stream)
    num_tokens = sum(len(row) + 1 for row in rows)
    for part in parts(rows):
        share = sum(len(row) + 1 for row in part) / num_tokens
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=_HAS_BFLOAT16):
            loss = model(**padded(part), use_cache=False).loss
        (share * loss).backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return num_tokens


kinds = json.loads((folder / "batches.json").read_text(encoding="utf-8"))
answer(
    {kind: partial(step, itertools.cycle(batches)) for kind, batches in kinds.items()},
    {"trained": sum(parameter.numel() for parameter in trained)},
)
