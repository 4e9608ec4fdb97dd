"""A few invented sentences and a GPT-2 of two layers, for tests of pretraining."""

import random
from collections.abc import Callable

from adavae.model.config import BackboneConfig
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.config import Precision
from adavae.model.training.corpus import Dataset
from adavae.model.training.pretrain_config import PretrainConfig

SHAPE = BackboneConfig(vocab_size=300, n_positions=32, n_embd=32, n_layer=2, n_head=2, n_inner=64)
CONFIG = PretrainConfig(
    backbone=SHAPE,
    epochs=100.0,
    max_steps=14,
    batch_size=4,
    window=16,
    long_window=32,
    long_share=0.3,
    learning_rate=1e-2,
    warmup_steps=2,
    checkpoint_every=3,
    precision=Precision.FLOAT32,
)


def made_up_texts(num: int, seed: int) -> list[str]:
    pick = random.Random(seed).choice
    return [
        f"the {pick(['cat', 'dog', 'owl'])} {pick(['sees', 'hears'])} a {pick(['tree', 'car'])}" for _ in range(num)
    ]


def dataset_of(texts: list[str]) -> Dataset:
    return Dataset.of(texts, None, "texts.txt")


def after_refusals(num_refusals: int, then: Callable[[], bool]) -> Callable[[], bool]:
    """A ``should_stop`` that says no a few times, then what ``then`` does."""
    answers = iter([False] * num_refusals)
    return lambda: next(answers, None) is None and then()


def killed() -> bool:
    raise KeyboardInterrupt  # no chance to save


def assert_same_weights(one: PretrainedBackbone, other: PretrainedBackbone) -> None:
    assert one.digest == other.digest
    assert one.tokenizer.digest == other.tokenizer.digest
