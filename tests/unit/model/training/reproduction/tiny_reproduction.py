"""A folder of made-up reviews and a setting over a tiny backbone, for tests of the paper's tables."""

from dataclasses import asdict
from pathlib import Path

import torch

from adavae.model.training.reproduction.corpus import Corpus
from adavae.model.training.reproduction.grid import Cell
from adavae.model.training.reproduction.rows import Setting
from adavae.model.training.reproduction.scale import SCALES, Scale, ScaleName
from adavae.model.training.reproduction.tables import procedures_of
from tests.tiny_text import as_tsv, reviews, tiny_pretrained

CPU = torch.device("cpu")
SCALE = Scale(
    train_texts=60,
    test_texts=12,
    perplexity_texts=12,
    steps=6,
    batch_size=12,
    importance_samples=3,
    refinements=2,
    hidden_size=24,
    embedding_size=12,
    latent_size=3,
    most_tokens=30,
    least_label_steps=6,
    label_test_texts=12,
)


def write_folder(directory: Path) -> Path:
    """``yelp`` with train, valid and test."""
    folder = directory / "yelp"
    folder.mkdir()
    for seed, (split, num) in enumerate((("train", 60), ("valid", 12), ("test", 12))):
        (folder / f"{split}.tsv").write_text(as_tsv(reviews(num, seed)), encoding="utf-8")
    return folder


def tiny_setting(directory: Path, scale: Scale = SCALE, seed: int = 0) -> Setting:
    pretrained = tiny_pretrained()
    corpus = Corpus.read(write_folder(directory), pretrained.tokenizer, scale, seed)
    return Setting(pretrained, corpus, scale, seed, CPU, lambda *_: None)


def a_cell(table: str, row: str, seed: int = 0, *, dataset: str = "yelp", scale: str = "cpu", **figures: float) -> Cell:
    """As if it had been run."""
    return Cell(
        table=table,
        row=row,
        dataset=dataset,
        scale=scale,
        sizes=asdict(SCALES[ScaleName(scale)]),
        seed=seed,
        backbone="b",
        figures=dict(figures),
        figures_cut={},
        trained_parameters=9,
        share_percent=2.5,
        weights="w",
        texts="t",
        files="f",
        procedures=procedures_of(table).get(row, 2),
        seconds=1.0,
        torch="2",
        command="adavae",
    )
