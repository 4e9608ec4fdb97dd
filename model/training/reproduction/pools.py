"""How many test texts there were to draw from, for cells that do not say so themselves: their files tell."""

from collections.abc import Mapping
from typing import Any

NUM_POOL_TEXTS = "num_pool_texts"
"""The figure's name, in cells from 2026-11-28 on."""

_OF_FILES = {
    "258ae1c59e151a4f6ac81e7ed3910e9563b54475c61889e7f32506fafa53328f": 10_000,  # yelp/test.tsv
    "43c681de5ecba27a573e4a8ef0936dda770ae604a8cdb585da4b2218591704d6": 1_821,  # sst2/test.tsv
    "8b6a443dc69b6fc5ca85425615c6999604ea0123b3c68a100cb6c621489f3943": 71,  # wnli/valid.tsv
}
"""Texts with labels in the file that accuracies are measured on, by ``data_folder.digest_of`` its folder."""


def pool_of(files: str, figures: Mapping[str, Any]) -> dict[str, int]:
    """The figure of a cell, or nothing where nobody knows it.

    Args:
        files: ``Cell.files``.
        figures: ``Cell.figures``.
    """
    if "num_texts" not in figures or "accuracy" not in figures:
        return {}
    known = figures.get(NUM_POOL_TEXTS, _OF_FILES.get(files))
    return {} if known is None else {NUM_POOL_TEXTS: known}
