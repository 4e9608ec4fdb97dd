"""llama.cpp on the bare backbone, greedy, all rows in one batch; variant ``F16`` or ``Q8_0``, the type of its
matrices; ``Q8_0-plain`` does not lay them out anew for the processor (with AMX that crashes at 11 rows).

The conversion writes GGUF directly, without a tokenizer: tokens go in and come out as numbers.
"""

import json
from functools import partial
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
from answering import NUM_ROWS, NUM_TOKENS, answer, asked
from safetensors.numpy import load_file

_LAYER_NAMES = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def convert(folder: Path, target: Path, kind: str) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(target, "gpt2")
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    for name, tensor in load_file(folder / "model.safetensors").items():
        add(writer, name.removeprefix("transformer."), tensor.astype(np.float32), kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add(writer: gguf.GGUFWriter, name: str, tensor: np.ndarray, kind: str) -> None:
    if (found := gguf_name(name)) is None:
        return
    is_matrix = tensor.ndim == 2 and name != "wpe.weight"
    if is_matrix and name.startswith("h."):
        tensor = np.ascontiguousarray(tensor.T)  # GPT-2 keeps (in, out)
    quantised = gguf.GGMLQuantizationType[kind] if is_matrix else gguf.GGMLQuantizationType.F32
    writer.add_tensor(found, gguf.quants.quantize(tensor, quantised), raw_dtype=quantised)


def gguf_name(name: str) -> str | None:
    """None for what llama.cpp does not keep, such as masks and a tied output embedding."""
    whole = {
        "wte.weight": "token_embd.weight",
        "wpe.weight": "position_embd.weight",
        "ln_f.weight": "output_norm.weight",
        "ln_f.bias": "output_norm.bias",
    }
    if name in whole:
        return whole[name]
    if not name.startswith("h."):
        return None
    _, layer, part = name.split(".", 2)
    module, _, kind = part.rpartition(".")
    return f"blk.{layer}.{_LAYER_NAMES[module]}.{kind}" if module in _LAYER_NAMES else None


folder, threads, variant = asked()
kind = variant.removesuffix("-plain")
file = folder / f"llamacpp-{kind}.gguf"
if not file.is_file():
    convert(folder, file, kind)
llama_cpp.llama_backend_init()
loading = llama_cpp.llama_model_default_params()
loading.use_extra_bufts = kind == variant
network = llama_cpp.llama_model_load_from_file(str(file).encode(), loading)
assert network, "llama.cpp does not read the converted backbone"
options = llama_cpp.llama_context_default_params()
options.n_ctx, options.n_batch, options.n_ubatch, options.n_seq_max = 64 * max(NUM_ROWS), 512, 512, max(NUM_ROWS)
options.n_threads = options.n_threads_batch = threads
context = llama_cpp.llama_init_from_model(network, options)
vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(network))
start_id = json.loads((folder / "config.json").read_text(encoding="utf-8"))["eos_token_id"]
batch = llama_cpp.llama_batch_init(max(NUM_ROWS), 0, 1)


def decode(num_rows: int) -> int:
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    tokens = [start_id] * num_rows
    for position in range(NUM_TOKENS):
        batch.n_tokens = num_rows
        for row, token in enumerate(tokens):
            batch.token[row], batch.pos[row], batch.logits[row] = token, position, True
            batch.n_seq_id[row] = 1
            batch.seq_id[row][0] = row
        assert llama_cpp.llama_decode(context, batch) == 0
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (num_rows, vocab_size))
        tokens = logits.argmax(1).tolist()
    return num_rows * NUM_TOKENS


answer({f"decode {rows}": partial(decode, rows) for rows in NUM_ROWS})
