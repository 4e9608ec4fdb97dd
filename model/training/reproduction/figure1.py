"""Figure 1: accuracy on YELP with 10, 100, 1,000, 10,000 labelled texts, and with all there are."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from adavae.model.training.reproduction.bert_rows import bert_tuned
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.labelled_rows import (
    OPTIMUS_OF_TEXTS,
    Begin,
    Beginning,
    LabelledRow,
    adavae_tuned,
    optimus,
    unmasked_tuned,
)
from adavae.model.training.reproduction.scale import Scale

DATASETS = ("yelp",)
LABELS: Sequence[int | None] = (10, 100, 1000, 10_000, None)
"""Labelled texts; None is all."""

SYSTEMS = ("AdaVAE FT", "AdaVAE PE", "BERT FT", "BERT PE", "Optimus FT")
"""FT tunes every weight, PE adapters of size 128 for a width of 768."""


def row_name(system: str, num_labels: int | None) -> str:
    """Of a point of the figure."""
    return f"{system}, {'all' if num_labels is None else f'{num_labels:,}'} labels"


def rows(scale: Scale | None = None, bert: Checkpoint | None = None) -> Iterator[LabelledRow]:
    """System by system; a number of labels that the scale does not have, or comes not to read, is left out.

    Args:
        scale: Sizes and steps; None leaves nothing out.
        bert: What the points of BERT begin from; None for the backbone in its place.
    """
    for system, begin in _systems(bert).items():
        for num_labels in LABELS:
            if scale is None or _is_point(scale, num_labels):
                name = row_name(system, num_labels)
                if system.startswith("Optimus"):
                    yield LabelledRow(name, begin, num_labels, procedures=4, shared=OPTIMUS_OF_TEXTS)
                else:
                    checkpoint = bert if system.startswith("BERT") else None
                    yield LabelledRow(name, begin, num_labels, checkpoint=checkpoint)


def _systems(bert: Checkpoint | None) -> dict[str, Begin]:
    """How each of ``SYSTEMS`` begins."""
    tuned: Callable[..., Beginning] = unmasked_tuned if bert is None else partial(bert_tuned, checkpoint=bert)
    return {
        "AdaVAE FT": partial(adavae_tuned, adapter_size=None),
        "AdaVAE PE": partial(adavae_tuned, adapter_size=128),
        "BERT FT": partial(tuned, adapter_size=None),
        "BERT PE": partial(tuned, adapter_size=128),
        "Optimus FT": partial(optimus, is_frozen=False),
    }


def _is_point(scale: Scale, num_labels: int | None) -> bool:
    is_fewer = num_labels is None or scale.train_texts is None or num_labels < scale.train_texts
    return is_fewer and scale.reads_all(num_labels)
