"""How large a reproduction is: minutes, nights on two cores, or the paper's sizes on a GPU."""

from dataclasses import dataclass
from enum import StrEnum

from adavae.model.training.measures import MI_TEXTS


class ScaleName(StrEnum):
    SMOKE = "smoke"
    CPU = "cpu"
    PAPER = "paper"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Sizes that every system of a table shares.

    Attributes:
        train_texts: Training texts, drawn by the seed; None for all.
        test_texts: Test texts.
        perplexity_texts: Those of them that the perplexity is measured on, by importance samples; all take part in
            the other figures.
        steps: Updates of every system's decoder; one that is trained in two phases divides them.
        batch_size: Texts per update.
        importance_samples: K of the perplexity.
        refinements: Steps of SA-VAE for each text.
        hidden_size: Of the LSTMs.
        embedding_size: Of the LSTMs.
        latent_size: Z, 32 in the paper.
        most_tokens: Longer texts are cut, before training and before measuring.
        label_epochs: Passes over the labelled texts of Table 3, ``steps`` at most: of many texts it reads a part.
        least_label_steps: Updates with few labelled texts, at least.
        label_test_texts: Texts that accuracy is measured on.
    """

    train_texts: int | None
    test_texts: int
    perplexity_texts: int
    steps: int
    batch_size: int
    importance_samples: int
    refinements: int
    hidden_size: int
    embedding_size: int
    latent_size: int = 32
    most_tokens: int = 255
    label_epochs: int = 3
    least_label_steps: int = 100
    label_test_texts: int = 2000

    @property
    def posterior_texts(self) -> int:
        """Test texts that MI and AU are measured on, since an estimate of MI cannot exceed the logarithm of these."""
        return min(10 * self.test_texts, MI_TEXTS)

    def label_steps(self, num_texts: int) -> int:
        """Updates of a classifier that has so many labelled texts."""
        passes = self.label_epochs * -(-num_texts // self.batch_size)
        return min(self.steps, max(self.least_label_steps, passes))

    def reads_all(self, num_labels: int | None) -> bool:
        """Whether a classifier's updates come to each of so many labelled texts; None is all there are."""
        num = self.train_texts if num_labels is None else num_labels
        return num is None or self.label_steps(num) * self.batch_size >= num


SCALES = {
    ScaleName.SMOKE: Scale(
        train_texts=200,
        test_texts=24,
        perplexity_texts=24,
        steps=8,
        batch_size=16,
        importance_samples=4,
        refinements=2,
        hidden_size=32,
        embedding_size=16,
        latent_size=4,
        most_tokens=24,
        label_test_texts=24,
    ),
    ScaleName.CPU: Scale(
        train_texts=40_000,
        test_texts=1_000,
        perplexity_texts=64,
        steps=160,
        batch_size=64,
        importance_samples=100,
        refinements=3,
        hidden_size=512,
        embedding_size=256,
    ),
    ScaleName.PAPER: Scale(
        train_texts=None,
        test_texts=10_000,
        perplexity_texts=10_000,
        steps=20_000,
        batch_size=64,
        importance_samples=500,
        refinements=20,
        hidden_size=1024,
        embedding_size=512,
        label_test_texts=10_000,
    ),
}

AUTHORS_CUT = 32
"""Tokens after which the authors' code cuts every text; the tables have figures with and without this cut."""
