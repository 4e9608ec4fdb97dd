"""Table 3: latent classification, with a frozen encoder, with every weight tuned, and with adapters."""

from collections.abc import Callable, Iterator
from functools import partial

from adavae.model.training.reproduction.bert_rows import bert_features, bert_tuned
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.labelled_rows import (
    ADAVAE_OF_TEXTS,
    AUTOENCODER_OF_TEXTS,
    OPTIMUS_OF_TEXTS,
    Begin,
    Beginning,
    LabelledRow,
    adavae_features,
    adavae_tuned,
    optimus,
    unmasked_features,
    unmasked_tuned,
)

DATASETS = ("wnli", "yelp", "sst2")
ADAPTER_SIZES = (128, 512)
"""sigma, for a width of 768."""


def rows(bert: Checkpoint | None = None) -> Iterator[LabelledRow]:
    """In the paper's order; AdaVAE with a frozen encoder is added to it.

    Args:
        bert: What the rows of BERT begin from; None for the backbone in its place.
    """
    features: Begin = unmasked_features if bert is None else partial(bert_features, checkpoint=bert)
    tuned: Callable[..., Beginning] = unmasked_tuned if bert is None else partial(bert_tuned, checkpoint=bert)
    yield LabelledRow("BERT, features", features, checkpoint=bert)
    yield LabelledRow(
        "Optimus (VAE), features", partial(optimus, is_frozen=True), procedures=4, shared=OPTIMUS_OF_TEXTS
    )
    yield LabelledRow(
        "Optimus (AE), features", partial(optimus, is_frozen=True, beta=0.0), procedures=4, shared=AUTOENCODER_OF_TEXTS
    )
    yield LabelledRow("AdaVAE, features", adavae_features, procedures=4, shared=ADAVAE_OF_TEXTS)
    yield LabelledRow("BERT, fine-tuning", partial(tuned, adapter_size=None), checkpoint=bert)
    yield LabelledRow(
        "Optimus (VAE), fine-tuning", partial(optimus, is_frozen=False), procedures=4, shared=OPTIMUS_OF_TEXTS
    )
    yield LabelledRow("AdaVAE, fine-tuning", partial(adavae_tuned, adapter_size=None))
    for size in ADAPTER_SIZES:
        yield LabelledRow(f"BERT, sigma {size}", partial(tuned, adapter_size=size), checkpoint=bert)
    for size in ADAPTER_SIZES:
        yield LabelledRow(f"AdaVAE, sigma {size}", partial(adavae_tuned, adapter_size=size))
