"""What is measured: two backbones with random adapter sets, the engine that serves them, and transformers' twin."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adavae.model.backbone import Backbone
from adavae.model.config import AdapterConfig, BackboneConfig, WeightFormat
from adavae.model.parts.adapter_bank import AdapterBank
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.manifest import Manifest
from adavae.model.storage.pretrained import PretrainedBackbone, load_backbone, save_backbone
from adavae.model.text_model import TextModel
from adavae.model.training.config import Preset, preset_config
from adavae.service.engine.engine import Engine
from adavae.service.engine.work import EngineLimits
from adavae.service.metrics import Metrics

BUNDLED = Path(__file__).parents[2] / "weights" / "backbone"
NUM_SETS = 8
DEADLINE_S = 600.0
ShapeName = Literal["bundled", "124m"]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Subject:
    """A backbone with random adapter sets of the generation preset.

    Attributes:
        name: ``bundled``, or ``124m`` for GPT-2 small's shape with random weights.
        sets: Adapter sets with different numbers.
    """

    name: ShapeName
    pretrained: PretrainedBackbone
    sets: Sequence[AdapterSet]

    @classmethod
    def of(
        cls, name: ShapeName, num_sets: int = NUM_SETS, weight_format: WeightFormat = WeightFormat.FLOAT16
    ) -> "Subject":
        bundled = load_backbone(BUNDLED, weight_format=weight_format)
        pretrained = bundled if name == "bundled" else _random_124m(bundled)
        return cls(name, pretrained, [random_set(pretrained, seed) for seed in range(num_sets)])

    @cached_property
    def text_model(self) -> TextModel:
        return TextModel.of_sets(
            self.pretrained, {f"set-{number}": adapter_set for number, adapter_set in enumerate(self.sets)}
        )

    @cached_property
    def transformers(self) -> Any:
        """The bare backbone as transformers' GPT2LMHeadModel, the same weights."""
        import transformers

        with tempfile.TemporaryDirectory() as directory:
            save_backbone(Path(directory), self.pretrained.backbone, self.pretrained.tokenizer)
            loaded = transformers.GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float32).eval()
        loaded.generation_config.eos_token_id = None  # lengths are fixed
        loaded.generation_config.pad_token_id = 0
        return loaded

    def latents(self, num: int, seed: int = 0) -> NDArray[np.float32]:
        Z = self.sets[0].manifest.config.latent_size
        return np.random.default_rng(seed).standard_normal((num, Z)).astype(np.float32)

    def texts(self, num: int, seed: int = 0) -> list[list[int]]:
        """Token ids with log-normal lengths of 5 to 128, in order of arrival."""
        draw = np.random.default_rng(seed)
        lengths = np.clip(draw.lognormal(3.0, 0.7, num), 5, 128).astype(int)
        return [draw.integers(1, 12_000, length).tolist() for length in lengths]


def _random_124m(bundled: PretrainedBackbone) -> PretrainedBackbone:
    config = BackboneConfig(
        vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12, n_inner=3072, eos_token_id=50256
    )
    generator = torch.Generator().manual_seed(0)
    backbone = Backbone(config).eval().requires_grad_(False)
    for parameter in backbone.parameters():
        parameter.copy_((torch.randn(parameter.shape, generator=generator) * 0.02).half())  # as every stored backbone
    backbone.pack(bundled.backbone.weight_format)
    return replace(bundled, backbone=backbone)


def random_set(
    pretrained: PretrainedBackbone,
    seed: int,
    preset: Preset = Preset.GENERATION,
    config: AdapterConfig | None = None,
) -> AdapterSet:
    """A set with random numbers of the size of trained ones."""
    config = config or preset_config(preset, pretrained.backbone.config).adapter
    bank = AdapterBank.for_training(pretrained.backbone.config, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in bank.parameters():
            parameter.copy_((torch.randn(parameter.shape, generator=generator) * 0.02).half())  # as every stored set
    tensors = bank.export()
    manifest = Manifest(
        name=f"set-{seed}",
        version=f"{seed:012x}",
        config=config,
        backbone_digest=pretrained.digest,
        tokenizer_digest=pretrained.tokenizer.digest,
        files={},
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        metrics={},
        training={},
        created_at="2026-01-01T00:00:00+00:00",
    )
    return AdapterSet(manifest, tensors)


class RunningEngine:
    """An engine with every set of a subject loaded, driven from synchronous code."""

    def __init__(self, subject: Subject, limits: EngineLimits) -> None:
        self.runner = asyncio.Runner()
        configs = [adapter_set.manifest.config for adapter_set in subject.sets]
        self.engine = Engine(subject.pretrained, configs, num_slots=len(subject.sets), limits=limits, metrics=Metrics())

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    def on_device(self, way: Callable[[], int]) -> int:
        """Runs what bypasses the engine on its thread, the only one that computes with all cores."""
        return self.run(self.engine.on_device(way, DEADLINE_S))

    def all(self, work: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
        """Runs everything at once."""

        async def gathered() -> list[Result]:
            return list(await asyncio.gather(*work))

        return self.run(gathered())


@contextmanager
def running_engine(subject: Subject, limits: EngineLimits | None = None) -> Iterator[RunningEngine]:
    """An engine that has started; it is stopped at the end."""
    running = RunningEngine(subject, limits or EngineLimits())
    running.run(running.engine.start())
    for slot, adapter_set in enumerate(subject.sets):
        running.run(running.engine.load(slot, adapter_set))
    try:
        yield running
    finally:
        running.run(running.engine.stop(5.0))
        running.runner.close()


def as_tensor(rows: Sequence[Sequence[int]], padding: int = 0) -> tuple[Tensor, Tensor]:
    """Right-padded token ids and mask for transformers."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask
