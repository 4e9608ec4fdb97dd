"""Table 3: latent classification, with a frozen encoder, with every weight tuned, and with adapters."""

from collections.abc import Iterator
from functools import partial

from adavae.model.training.reproduction.labelled_rows import (
    ADAVAE_OF_TEXTS,
    AUTOENCODER_OF_TEXTS,
    OPTIMUS_OF_TEXTS,
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


def rows() -> Iterator[LabelledRow]:
    """In the paper's order; AdaVAE with a frozen encoder is added to it."""
    yield LabelledRow("BERT, features", unmasked_features)
    yield LabelledRow(
        "Optimus (VAE), features", partial(optimus, is_frozen=True), procedures=4, shared=OPTIMUS_OF_TEXTS
    )
    yield LabelledRow(
        "Optimus (AE), features", partial(optimus, is_frozen=True, beta=0.0), procedures=4, shared=AUTOENCODER_OF_TEXTS
    )
    yield LabelledRow("AdaVAE, features", adavae_features, procedures=4, shared=ADAVAE_OF_TEXTS)
    yield LabelledRow("BERT, fine-tuning", partial(unmasked_tuned, adapter_size=None))
    yield LabelledRow(
        "Optimus (VAE), fine-tuning", partial(optimus, is_frozen=False), procedures=4, shared=OPTIMUS_OF_TEXTS
    )
    yield LabelledRow("AdaVAE, fine-tuning", partial(adavae_tuned, adapter_size=None))
    for size in ADAPTER_SIZES:
        yield LabelledRow(f"BERT, sigma {size}", partial(unmasked_tuned, adapter_size=size))
    for size in ADAPTER_SIZES:
        yield LabelledRow(f"AdaVAE, sigma {size}", partial(adavae_tuned, adapter_size=size))
