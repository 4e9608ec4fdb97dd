"""Tiny random checkpoints of transformers, with tokenizers of their own, in the layout that the hub has."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.tiny_text import reviews

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def write_bert(folder: Path, kind: str = "bert", seed: int = 0, *, as_pickle: bool = False) -> Path:
    """Two blocks, 16 wide; ``kind`` is bert, roberta, distilbert, or gpt2, which is no encoder."""
    tokenizer = _word_pieces()
    torch.manual_seed(seed)
    model = transformers.AutoModel.from_config(_config(kind, tokenizer.get_vocab_size()))
    return _write(folder, model, tokenizer, as_pickle=as_pickle, unk="[UNK]", cls="[CLS]", sep="[SEP]", pad="[PAD]")


def write_t5(folder: Path, seed: int = 0, *, is_tied: bool = True, is_half: bool = False) -> Path:
    """Two blocks a side, 16 wide; ``is_tied`` as T5's first version, ``is_half`` without the decoder."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=90, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    tokenizer.train_from_iterator(reviews(100).texts, trainer)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    config = transformers.T5Config(
        vocab_size=tokenizer.get_vocab_size(), decoder_start_token_id=0, tie_word_embeddings=is_tied, **sizes
    )
    torch.manual_seed(seed)
    model = (transformers.T5EncoderModel if is_half else transformers.T5ForConditionalGeneration)(config)
    return _write(folder, model, tokenizer, as_pickle=False, unk="<unk>", eos="</s>", pad="<pad>")


def _word_pieces() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(reviews(100).texts, trainers.WordPieceTrainer(vocab_size=90, special_tokens=_SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _config(kind: str, vocab_size: int) -> Any:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    if kind == "distilbert":
        sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    if kind == "gpt2":
        sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2}
    types = {"type_vocab_size": 1} if kind == "roberta" else {}
    return transformers.AutoConfig.for_model(kind, vocab_size=vocab_size, pad_token_id=0, **sizes, **types)


def _write(folder: Path, model: Any, tokenizer: Tokenizer, *, as_pickle: bool, **tokens: str) -> Path:
    special = {f"{name}_token": token for name, token in tokens.items()}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    model.save_pretrained(folder)
    if as_pickle:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder
