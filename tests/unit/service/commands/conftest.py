"""A model that answers with what it was asked, in place of every command's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from adavae.model.config import AdapterConfig, Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.latent.steering import ANY, USUAL, Draw, Steering
from adavae.model.results import Classified, DecodedText, InterpolationStep
from adavae.model.text_model import Encoded
from adavae.service import loading
from adavae.service.settings import Settings

Z, PART = 2, 3


@dataclass
class FakeTextModel:
    """Answers with what it was asked."""

    references: list[str] = field(default_factory=list)
    device: str | None = None
    decodings: list[Decoding] = field(default_factory=list)
    steering: Steering = USUAL
    draw: Draw = ANY
    truncate: bool = False

    def load(self, settings: Settings, references: list[str], device: str | None = None) -> "FakeTextModel":
        assert isinstance(settings, Settings)
        self.references, self.device = references, device
        return self

    def reference_of(self, name: str) -> str:
        return name if "@" in name else f"{name}@0123456789ab"

    def encode(self, texts: Sequence[str], name: str, *, truncate: bool = False) -> Encoded:
        assert name in self.references
        self.truncate = truncate
        mu = torch.tensor([[float(len(text)), -1.0] for text in texts])
        return Encoded(mu, torch.zeros_like(mu), tuple(len(text.split()) for text in texts), (False,) * len(texts))

    def decode(
        self, z: Tensor, name: str, decodings: Sequence[Decoding], steering: Steering = USUAL
    ) -> list[DecodedText]:
        assert name in self.references
        self.decodings, self.steering = list(decodings), steering
        return [DecodedText(f"text {row[0]:.0f}", 2, "stop", row.numpy()) for row in z]

    def sample_in_parts(
        self, num: int, name: str, decoding: Decoding, draw: Draw, steering: Steering, *, start: int = 0
    ) -> Iterator[list[DecodedText]]:
        self.draw = draw
        z, each = torch.full((num, Z), float(decoding.seed)), decoding.for_rows(num)
        for place in range(start, num, PART):
            yield self.decode(z[place : place + PART], name, each[place : place + PART], steering)

    def interpolate(
        self,
        source: str,
        target: str,
        steps: int,
        name: str,
        decoding: Decoding,
        method: Interpolation,
        steering: Steering,
    ) -> list[InterpolationStep]:
        assert name in self.references
        self.decodings, self.steering = [decoding], steering
        ends = f"{source}>{target} {method}"
        return [InterpolationStep(tau, DecodedText(ends, 2, "stop", np.zeros(Z, np.float32))) for tau in range(steps)]

    def analogy(
        self,
        a: list[str],
        b: list[str],
        c: list[str],
        name: str,
        decoding: Sequence[Decoding],
        scale: float,
        steering: Steering,
    ) -> list[DecodedText]:
        assert name in self.references
        self.decodings, self.steering = list(decoding), steering
        changed = [f"{'+'.join(a)}:{'+'.join(b)}::{text} {scale}" for text in c for _ in decoding]
        return [DecodedText(text, 2, "length", np.ones(Z, np.float32)) for text in changed]

    def config_of(self, name: str) -> AdapterConfig:
        assert name in self.references
        return AdapterConfig(latent_size=Z, labels=("bad", "good"))

    def classify(self, texts: Sequence[str], name: str, *, truncate: bool = False) -> list[Classified]:
        assert name in self.references
        self.truncate = truncate
        return [Classified("good", {"good": 0.75, "bad": 0.25}) for _ in texts]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTextModel:
    text_model = FakeTextModel()
    monkeypatch.setattr(loading, "load_text_model", text_model.load)
    return text_model
