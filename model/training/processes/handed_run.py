"""What a training run's other processes are given to start with: safetensors and JSON in a directory that is theirs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import torch as safetensors
from torch import Tensor

from adavae.model.backbone import Backbone
from adavae.model.config import BackboneConfig
from adavae.model.empty_model import without_memory
from adavae.model.training.config import TrainingConfig
from adavae.model.training.run_origin import RunOrigin
from adavae.model.training.token_rows import TokenRows
from adavae.model.training.tokenized_texts import TokenizedTexts

_TENSORS, _REST = "run.safetensors", "run.json"
_MEETING = "meeting"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedRun:
    """The arguments of ``loop.train`` that every process needs.

    Attributes:
        config: The run's settings.
        backbone: Its weights are not changed.
        texts: Training texts.
        validation: Texts held back.
        directory: Of the run; only its leader writes there.
        initial: Tensors to start with.
        is_resumed: Whether to go on from the newest checkpoint in ``directory``.
        origin: What checkpoints name as what they were trained over; None for nothing.
    """

    config: TrainingConfig
    backbone: Backbone
    texts: TokenizedTexts
    validation: TokenizedTexts
    directory: Path
    initial: Mapping[str, Tensor] | None
    is_resumed: bool
    origin: RunOrigin | None = None

    def write(self, place: Path) -> None:
        """Puts all of it into ``place``, an empty directory."""
        tensors: dict[str, Tensor] = {
            f"backbone.{name}": tensor.data for name, tensor in self.backbone.named_parameters()
        }
        tensors |= {f"initial.{name}": tensor for name, tensor in (self.initial or {}).items()}
        tensors |= _tensors_of("texts", self.texts) | _tensors_of("validation", self.validation)
        alone = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        rest = {
            "config": self.config.to_dict(),
            "backbone": self.backbone.config.to_hugging_face(),
            "digests": [self.texts.digest, self.validation.digest],
            "directory": str(self.directory.absolute()),
            "is_resumed": self.is_resumed,
            "origin": None if self.origin is None else asdict(self.origin),
            "has_initial": self.initial is not None,
            "has_kernel": self.backbone.kernel is not None,
        }
        safetensors.save_file(alone, place / _TENSORS)
        (place / _REST).write_text(json.dumps(rest), encoding="utf-8")

    @classmethod
    def read(cls, place: Path, device: torch.device) -> Self:
        """The inverse of ``write``, with the backbone on ``device``."""
        rest = json.loads((place / _REST).read_text(encoding="utf-8"))
        tensors = safetensors.load_file(place / _TENSORS)
        initial = {name.removeprefix("initial."): each for name, each in tensors.items() if name.startswith("initial.")}
        backbone = _backbone(BackboneConfig.from_hugging_face(rest["backbone"]), tensors).to(device)
        if rest["has_kernel"]:
            backbone.pack()  # so that it validates as fast as the leader
        return cls(
            config=TrainingConfig.from_dict(rest["config"]),
            backbone=backbone,
            texts=_texts("texts", tensors, rest["digests"][0]),
            validation=_texts("validation", tensors, rest["digests"][1]),
            directory=Path(rest["directory"]),
            initial=initial if rest["has_initial"] else None,
            is_resumed=rest["is_resumed"],
            origin=None if rest["origin"] is None else RunOrigin(**rest["origin"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one process stands among the others.

    Attributes:
        directory: Theirs alone, with the ``HandedRun``.
        rank: Its number.
        size: How many there are.
        device: ``cpu`` or ``cuda:N``.
        num_threads: Threads of its CPU computations.
        timeout_s: How long it waits for another.
    """

    directory: Path
    rank: int
    size: int
    device: str
    num_threads: int
    timeout_s: float

    @property
    def meeting(self) -> Path:
        """The file by which they find each other."""
        return self.directory / _MEETING

    def to_json(self) -> str:
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(values | {"directory": str(self.directory)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        return cls(**values | {"directory": Path(values["directory"])})


def _tensors_of(name: str, texts: TokenizedTexts) -> dict[str, Tensor]:
    tensors = _tensors_of_rows(f"{name}.tokens", texts.token_ids)
    if texts.label_ids is not None:
        tensors[f"{name}.labels"] = torch.tensor(texts.label_ids)
    if texts.form_ids is not None:
        tensors |= _tensors_of_rows(f"{name}.forms", texts.form_ids)
    return tensors


def _tensors_of_rows(name: str, rows: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    ids = np.fromiter(chain.from_iterable(rows), dtype=np.int32)
    ends = np.fromiter(accumulate(map(len, rows)), dtype=np.int64)
    return {f"{name}.ids": torch.from_numpy(ids), f"{name}.ends": torch.from_numpy(ends)}


def _texts(name: str, tensors: Mapping[str, Tensor], digest: str) -> TokenizedTexts:
    labels = tensors.get(f"{name}.labels")
    return TokenizedTexts(
        _rows(f"{name}.tokens", tensors),
        None if labels is None else labels.tolist(),
        digest,
        _rows(f"{name}.forms", tensors) if f"{name}.forms.ids" in tensors else None,
    )


def _rows(name: str, tensors: Mapping[str, Tensor]) -> TokenRows:
    ids, ends = tensors[f"{name}.ids"].numpy(), [0, *tensors[f"{name}.ends"].tolist()]
    return TokenRows(ids[start:end].tolist() for start, end in pairwise(ends))


def _backbone(config: BackboneConfig, tensors: Mapping[str, Tensor]) -> Backbone:
    with without_memory():
        backbone = Backbone(config)
    weights = {name.removeprefix("backbone."): each for name, each in tensors.items() if name.startswith("backbone.")}
    backbone.load_state_dict(weights, strict=False, assign=True)
    if config.tie_word_embeddings:
        backbone.lm_head.weight = backbone.wte.weight
    return backbone.requires_grad_(False).eval()
