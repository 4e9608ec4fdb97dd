"""What a pretraining run starts from: its texts, its tokenizer, and a backbone that is fresh or was trained before."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from adavae.model.backbone import Backbone
from adavae.model.config import BackboneConfig
from adavae.model.errors import CheckpointMismatch, ConfigError
from adavae.model.storage.pretrained import PretrainedBackbone, load_backbone
from adavae.model.storage.tokenizer import Tokenizer
from adavae.model.training.checkpoint import Checkpoint, latest_checkpoint, load_checkpoint
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.pretrain_config import SMALL_GPT2, PretrainConfig
from adavae.model.training.token_windows import repeated, token_stream, train_tokenizer

_MOST_REPEATS = 1000.0


@dataclass(frozen=True, slots=True)
class SourceTexts:
    """The texts of a run, and how often each source is seen in a pass."""

    datasets: list[Dataset]
    repeats: list[float]

    @classmethod
    def read(cls, sources: Sequence[Path], repeats: Sequence[float] | None) -> "SourceTexts":
        """Reads every source.

        Raises:
            ConfigError: There is no source, or ``repeats`` does not fit them.
            DatasetError: A source cannot be used.
        """
        checked = _checked_repeats(repeats, sources)
        return cls([read_dataset(source) for source in sources], checked)

    def tokens(self, tokenizer: Tokenizer, seed: int) -> NDArray[np.int32]:
        """All texts as one stream, each source as often as asked for, (num_tokens,)."""
        seen = zip(self.datasets, self.repeats, strict=True)
        return token_stream([repeated(dataset, number, seed) for dataset, number in seen], tokenizer)


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """What a run takes over from elsewhere.

    Attributes:
        backbone: A trained backbone with its tokenizer; None for a fresh one.
        tokenizer: The tokenizer of a fresh backbone; None to make one from the texts.
    """

    backbone: PretrainedBackbone | None
    tokenizer: Tokenizer | None

    @classmethod
    def load(
        cls, init_from: str | Path | None, tokenizer_from: Path | None, device: torch.device | None
    ) -> "InitialWeights":
        """Loads what is named.

        Raises:
            ConfigError: Both are named; a trained backbone keeps its tokenizer.
        """
        if tokenizer_from is not None and init_from is not None:
            rule = "is for a fresh backbone: leave it out, or init_from"
            raise ConfigError("tokenizer_from", str(tokenizer_from), rule)
        return cls(
            None if init_from is None else load_backbone(init_from, device=device),
            None if tokenizer_from is None else Tokenizer.from_directory(tokenizer_from),
        )

    def model(
        self, config: PretrainConfig, texts: SourceTexts, checkpoint: Checkpoint | None
    ) -> tuple[Backbone, Tokenizer]:
        """The backbone to train and its tokenizer; of a resumed run, the tokenizer that the checkpoint holds.

        Raises:
            ConfigError: The windows do not fit the context.
        """
        if self.backbone is not None:
            return self.backbone.backbone.requires_grad_(True), self.backbone.tokenizer
        shape = config.backbone or SMALL_GPT2
        config.check_context(shape)
        if self.tokenizer is not None:
            tokenizer = self.tokenizer
        elif checkpoint is not None:
            tokenizer = Tokenizer(checkpoint.state["tokenizer"])
        else:
            tokenizer = train_tokenizer(texts.datasets, shape.vocab_size)
        shape = replace(shape, vocab_size=tokenizer.vocab_size, eos_token_id=tokenizer.eos_token_id)
        return fresh_backbone(shape, config.seed), tokenizer


def fresh_backbone(config: BackboneConfig, seed: int) -> Backbone:
    """GPT-2's initialisation: N(0, 0.02), narrower by sqrt(2 L) where a branch joins the residual stream."""
    backbone = Backbone(config)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in backbone.named_parameters():
        if name.endswith(".bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            shrink = math.sqrt(2 * config.n_layer) if name.endswith("c_proj.weight") else 1.0
            nn.init.normal_(parameter, std=0.02 / shrink, generator=generator)
    return backbone


def origin_of(texts: SourceTexts, initial: InitialWeights) -> dict[str, Any]:
    """What a checkpoint says of its run's beginning, so that only the same run is resumed from it."""
    return {
        "data": [dataset.digest for dataset in texts.datasets],
        "init_from": None if initial.backbone is None else initial.backbone.digest,
        "repeats": texts.repeats,
        "tokenizer": None if initial.tokenizer is None else initial.tokenizer.digest,
    }


def checkpoint_to_resume(directory: Path, config: PretrainConfig, origin: dict[str, Any]) -> Checkpoint | None:
    """The newest checkpoint in ``directory``; None where there is none.

    Raises:
        CheckpointMismatch: It belongs to a run with other settings or another beginning.
    """
    path = latest_checkpoint(directory)
    if path is None:
        return None
    checkpoint = load_checkpoint(path)
    has_same_origin = checkpoint.state["origin"] == origin
    what = "settings" if has_same_origin else "texts, repeats, tokenizer or init_from"
    if checkpoint.state["config"] != asdict(config) or not has_same_origin:
        raise CheckpointMismatch(
            f"{path} belongs to a run with other {what}: "
            f"repeat the first command exactly, or start afresh in another directory"
        )
    return checkpoint


def _checked_repeats(repeats: Sequence[float] | None, sources: Sequence[Path]) -> list[float]:
    """One number a source, once each where none are given.

    Raises:
        ConfigError: Their number is not that of the sources, or one is out of range.
    """
    times = [1.0] * len(sources) if repeats is None else list(repeats)
    if len(times) != len(sources):
        raise ConfigError("repeats", times, f"must be one number for each of the {len(sources)} sources")
    for number in times:
        if not 0.0 < number <= _MOST_REPEATS:
            raise ConfigError("repeats", number, f"must be above 0 and at most {_MOST_REPEATS:g}")
    return times
