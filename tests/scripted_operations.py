"""A latent space of our own making, for measures: texts are points on a line of sentences, answers are known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from adavae.model.text_model import Encoded


def _jump(source: str, target: str, steps: int) -> list[str]:
    return [source] * (steps - 1) + [target]


def _unmoved(a: str, b: str, c: str) -> str:
    del a, b
    return c


@dataclass
class ScriptedOperations:
    """Answers as it is told and keeps what it was asked.

    Attributes:
        walk: Gives the way between two texts.
        answer: Gives the analogy of (a, b, c).
        drawn: What is drawn, over and over.
        place: Gives the latent of a text.
        written: What every latent is decoded to.
    """

    walk: Callable[[str, str, int], list[str]] = _jump
    answer: Callable[[str, str, str], str] = _unmoved
    drawn: Sequence[str] = ("the food was good .",)
    place: Callable[[str], Sequence[float]] = lambda text: [float(len(text)), float(text.count(" "))]
    written: str = "the food ."
    analogies: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)

    def encode(self, texts: Sequence[str]) -> Encoded:
        mu = torch.tensor([list(self.place(text)) for text in texts], dtype=torch.float32)
        return Encoded(mu, torch.zeros_like(mu), tuple(map(len, texts)), (False,) * len(texts))

    def decode(self, z: Tensor) -> list[str]:
        return [self.written] * len(z)

    def interpolate(self, pairs: Sequence[tuple[str, str]], steps: int) -> list[list[str]]:
        return [self.walk(source, target, steps) for source, target in pairs]

    def analogy(self, a: str, b: str, c: Sequence[str]) -> list[str]:
        self.analogies.append((a, b, tuple(c)))
        return [self.answer(a, b, text) for text in c]

    def draw(self, num: int, seed: int) -> list[str]:
        self.seeds.append(seed)
        return [self.drawn[(seed + number) % len(self.drawn)] for number in range(num)]
