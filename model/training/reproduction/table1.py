"""Table 1: eight variants of AdaVAE, lambda 0.5, on YELP and YAHOO."""

from collections.abc import Iterator
from functools import partial

from adavae.model.config import AdapterConfig
from adavae.model.training.reproduction.adavae_rows import train_adavae
from adavae.model.training.reproduction.rows import Row, Setting, Trained
from adavae.model.training.reproduction.untrained_row import untrained_row
from adavae.model.variants import paper_configs

DATASETS = ("yelp",)
"""Of the paper's; YAHOO is not among the data that anyone may pass on, and is read from a folder if it is there."""


def rows() -> Iterator[Row]:
    """In the paper's order, and the backbone as it is."""
    variants = {name: config for name, (config, _) in paper_configs().items()}
    yield Row("AdaVAE", partial(_variant, config=variants.pop("AdaVAE")), procedures=3)
    yield Row("w/ Fine-tuning", _fine_tuning, procedures=3)
    for name, config in variants.items():
        yield Row(name, partial(_variant, config=config), procedures=3)
    yield untrained_row()


def _variant(setting: Setting, config: AdapterConfig) -> Trained:
    return train_adavae(setting, config)


def _fine_tuning(setting: Setting) -> Trained:
    return train_adavae(setting, AdapterConfig(), is_full_fine_tuning=True)
