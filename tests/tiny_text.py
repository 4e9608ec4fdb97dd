"""A tiny backbone with a real tokenizer, for tests that go from text to text: random weights, made-up reviews."""

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import torch

from adavae.model.backbone import Backbone
from adavae.model.config import AdapterConfig, BackboneConfig
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.manifest import Manifest
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.text_model import TextModel
from adavae.model.training.corpus import Dataset
from adavae.model.training.token_windows import train_tokenizer
from tests.tiny import PLAIN, POOLED, PREFIXED, TINY

NAMED = {"plain": PLAIN, "prefixed": PREFIXED, "pooled": POOLED}
N_POSITIONS = 40

_SUBJECTS = ("the food", "the staff", "this place", "my room", "our waiter", "the pizza")
_VERDICTS = {"no": ("awful", "rude", "bad"), "yes": ("great", "lovely", "good")}


def reviews(num: int, seed: int = 0, *, has_labels: bool = True) -> Dataset:
    """Different texts of different lengths, whose label ("no", "yes") one word gives away."""
    draw = random.Random(seed)
    rows: dict[str, str] = {}
    while len(rows) < num:
        label = draw.choice(sorted(_VERDICTS))
        clauses = [f"{draw.choice(_SUBJECTS)} was {draw.choice(_VERDICTS[label])}" for _ in range(draw.randint(1, 3))]
        rows[" and ".join(clauses) + f" {draw.randint(0, 99)} ."] = label
    return Dataset.of(list(rows), list(rows.values()) if has_labels else None, f"reviews-{seed}")


def as_tsv(dataset: Dataset) -> str:
    rows = zip(dataset.labels or (), dataset.texts, strict=True)
    return "label\ttext\n" + "".join(f"{label}\t{text}\n" for label, text in rows)


@cache
def tiny_tokenizer() -> Tokenizer:
    """Byte-level, so that it knows any text; end-of-text is token 0."""
    return train_tokenizer([reviews(200)], 300)


def tiny_pretrained(seed: int = 0) -> PretrainedBackbone:
    """A frozen random backbone; equal seeds have equal digests."""
    tokenizer = tiny_tokenizer()
    backbone = Backbone(backbone_config())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return PretrainedBackbone(backbone.requires_grad_(False).eval(), tokenizer, f"{seed:064x}", "tiny")


def backbone_config() -> BackboneConfig:
    return replace(TINY, vocab_size=tiny_tokenizer().vocab_size, n_positions=N_POSITIONS)


def tiny_set(config: AdapterConfig, seed: int = 1) -> AdapterSet:
    """An adapter set as after training: nothing in it is zero."""
    bank = AdapterBank.for_training(backbone_config(), config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in bank.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    tensors = bank.export()
    manifest = Manifest(
        name="tiny",
        version=f"{seed:012x}",
        config=config,
        backbone_digest=tiny_pretrained().digest,
        tokenizer_digest=tiny_tokenizer().digest,
        files={},
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        metrics={},
        training={},
        created_at="2026-01-02T03:04:05+00:00",
    )
    return AdapterSet(manifest, tensors)


def tiny_text_model(configs: Mapping[str, AdapterConfig]) -> TextModel:
    """A text model of sets by name; a set's weights depend on its place in ``NAMED`` alone."""
    seeds = {name: seed for seed, name in enumerate(NAMED, start=1)}
    sets = {name: tiny_set(config, seeds.get(name, 1)) for name, config in configs.items()}
    return TextModel.of_sets(tiny_pretrained(), sets)
