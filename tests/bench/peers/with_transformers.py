"""transformers on the bare backbone: ``generate()`` and the first blocks; variant ``eager`` or ``compile``."""

from functools import partial

import torch
import transformers
from answering import NUM_ROWS, NUM_TOKENS, answer, asked, batches, padded

folder, threads, variant = asked()
torch.set_num_threads(threads)
loaded = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=torch.float32).eval()
loaded.generation_config.eos_token_id = None  # lengths are fixed
loaded.generation_config.pad_token_id = 0
start_id = loaded.config.eos_token_id
depth = int((folder / "depth").read_text())
texts = [tuple(map(torch.tensor, padded(rows))) for rows in batches(folder)]
trunk = transformers.GPT2Model.from_pretrained(folder, dtype=torch.float32).eval()
trunk.h = trunk.h[:depth]
forward = torch.compile(trunk, dynamic=True) if variant == "compile" else trunk
if variant == "compile":
    loaded.forward = torch.compile(loaded.forward, dynamic=True)


@torch.inference_mode()
def decode(num_rows: int) -> int:
    start = torch.full((num_rows, 1), start_id)
    output = loaded.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=NUM_TOKENS, do_sample=False)
    return int(output.shape[0] * (output.shape[1] - 1))


@torch.inference_mode()
def encode() -> int:
    for ids, mask in texts:
        forward(ids, attention_mask=mask, use_cache=False)
    return sum(len(ids) for ids, _ in texts)


answer({**{f"decode {rows}": partial(decode, rows) for rows in NUM_ROWS}, "encode": encode})
