"""What a latent space is measured on: which groups of measures, how many cases, drawn how, and the judges of texts."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from adavae.model.decoding.decoding import check_seed
from adavae.model.errors import DatasetError
from adavae.model.training.analogies import Pair, directions_of, draw_analogies
from adavae.model.training.corpus import Dataset
from adavae.model.training.fluency import FluencyJudge
from adavae.model.training.progress import OnStage, ignore_stage
from adavae.model.training.transfer import AttributeJudge
from adavae.model.training.walks import STEPS

_MAX_CHARACTERS = 20_000_000  # characters of text that the judges learn from
_GIVE_TEXTS = "give those beside the texts to measure on (--judge-data)"


class Group(StrEnum):
    """Measures that can be run by themselves."""

    WALKS = "walks"
    DRAWS = "draws"
    ANALOGIES = "analogies"
    LATENTS = "latents"
    FORMS = "forms"


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSpaceConfig:
    """What to measure, and on how many cases.

    Attributes:
        groups: Which measures to run; None for all that the data allow.
        num_walks: Number of walks, each between two texts.
        steps: Sentences per walk, ends included.
        num_draws: Number of texts to draw.
        num_pairs: Pairs (a, b) of analogies for each direction.
        num_sentences: Sentences c that every pair is applied to.
        pair_certainty: How sure the judge must be of the labels of a and b; 0 accepts any.
        num_texts: Texts for retrieval, units and probe.
        num_samples: Draws to keep as examples; a tenth as many walks and analogies per direction.
        seed: Seed of every random draw.
    """

    groups: tuple[Group, ...] | None = None
    num_walks: int = 100
    steps: int = STEPS
    num_draws: int = 2000
    num_pairs: int = 20
    num_sentences: int = 50
    pair_certainty: float = 0.0
    num_texts: int = 2000
    num_samples: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)


@dataclass(frozen=True, slots=True)
class Judges:
    """Judges of fluency and of labels, trained on ``num_texts`` training texts; None where that was not possible.

    ``fault`` is why a judge of labels could not learn from texts that have labels.
    """

    fluency: FluencyJudge | None
    attribute: AttributeJudge | None
    num_texts: int
    fault: str = ""

    @classmethod
    def of(cls, learned: Dataset, held_out: Dataset) -> "Judges":
        """Trains the judges on ``learned``, which shares no text with ``held_out``."""
        learned = _bounded(learned)
        fluency = FluencyJudge.fit(learned.texts, held_out.texts)
        has_labels = len(learned.label_names) > 1 and len(held_out.label_names) > 1
        attribute, fault = None, ""
        if has_labels:
            try:
                attribute = AttributeJudge.fit(learned.texts, learned.labels or ())
            except DatasetError as exc:  # the other measures do without
                fault = str(exc)
        return cls(fluency, attribute, len(learned.texts), fault)


@dataclass(frozen=True, slots=True)
class Direction:
    """The analogies from one label to another."""

    source: str
    target: str
    pairs: list[Pair]
    sentences: list[str]


@dataclass(frozen=True, slots=True)
class Cases:
    """What is measured on; each method raises DatasetError where the data do not have it."""

    held_out: Dataset
    learned: Dataset | None
    judges: Judges
    config: LatentSpaceConfig

    def texts(self) -> tuple[Sequence[str], Sequence[str] | None]:
        """Distinct held-out texts, two or more, and their labels; drawn, as files are often sorted by label."""
        rows = sorted({text: row for row, text in reversed(list(enumerate(self.held_out.texts)))}.values())
        if len(rows) > self.config.num_texts:
            rows = sorted(random.Random(self.config.seed).sample(rows, self.config.num_texts))
        if len(rows) < 2:
            raise DatasetError(f"{self.held_out.source}: all texts are copies of one: give at least two different ones")
        labels = self.held_out.labels
        return [self.held_out.texts[row] for row in rows], None if labels is None else [labels[row] for row in rows]

    def beside_draws(self) -> tuple[Sequence[str], FluencyJudge]:
        """The training texts, and the judge who has read them."""
        if self.learned is None or self.judges.fluency is None:
            raise DatasetError(f"draws need a judge who has read the training texts: {_GIVE_TEXTS}")
        return self.learned.texts, self.judges.fluency

    def analogies(self) -> tuple[list[Direction], AttributeJudge, FluencyJudge]:
        """Pairs and sentences of every direction, and their judges."""
        attribute, fluency = self.judges.attribute, self.judges.fluency
        if attribute is None or fluency is None:
            told = f"analogies need a judge who has read training texts of the same labels: {_GIVE_TEXTS}"
            raise DatasetError(self.judges.fault or told)
        drawn = []
        for source, target in directions_of(self.held_out.labels or ()):
            pairs, sentences = draw_analogies(
                self.held_out,
                attribute,
                source,
                target,
                num_pairs=self.config.num_pairs,
                num_sentences=self.config.num_sentences,
                certainty=self.config.pair_certainty,
                seed=self.config.seed,
            )
            drawn.append(Direction(source, target, pairs, sentences))
        return drawn, attribute, fluency


_JUDGED = frozenset({Group.WALKS, Group.DRAWS, Group.ANALOGIES})
_NEEDS: dict[Group, Callable[[Cases], object]] = {
    Group.WALKS: Cases.texts,
    Group.DRAWS: Cases.beside_draws,
    Group.ANALOGIES: Cases.analogies,
    Group.LATENTS: Cases.texts,
    Group.FORMS: Cases.texts,
}


def judges_for(
    held_out: Dataset, learned: Dataset | None, config: LatentSpaceConfig, on_stage: OnStage = ignore_stage
) -> Judges:
    """The judges that the groups of ``config`` need, trained on ``learned``; none without it."""
    if learned is None or not _JUDGED.intersection(config.groups or Group):
        return Judges(None, None, 0)
    on_stage("judges", 0, 1)
    judges = Judges.of(learned, held_out)
    on_stage("judges", 1, 1)
    return judges


def check_groups(held_out: Dataset, learned: Dataset | None, judges: Judges, config: LatentSpaceConfig) -> None:
    """Whether the groups that ``config`` names can be measured on these data; takes no model.

    Raises:
        DatasetError: One of them cannot.
    """
    cases = Cases(held_out, learned, judges, config)
    for group in config.groups or ():
        _NEEDS[group](cases)


def _bounded(learned: Dataset) -> Dataset:
    """A random part of it, small enough for a judge to learn in seconds."""
    rows = list(range(len(learned.texts)))
    random.Random(0).shuffle(rows)
    ends = accumulate(len(learned.texts[row]) for row in rows)
    chosen = sorted(row for row, end in zip(rows, ends, strict=True) if end <= _MAX_CHARACTERS)
    return learned if len(chosen) == len(rows) else learned.rows(chosen or rows[:1], learned.source)
