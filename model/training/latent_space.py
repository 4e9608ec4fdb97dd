"""What a latent space writes, measured: walks, draws, analogies, what z holds, and the form of a text.

Chooses texts, trains the judges, runs the measures one after the other, and collects their figures in one JSON object.
Each figure is defined where it is measured.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Any

from adavae.model.decoding.decoding import check_seed
from adavae.model.errors import DatasetError
from adavae.model.parts.posterior import Posterior
from adavae.model.training.analogies import Pair, directions_of, draw_analogies, measure_direction, summary
from adavae.model.training.corpus import Dataset
from adavae.model.training.draws import measure_draws
from adavae.model.training.fluency import JUDGE_ORDER, FluencyJudge
from adavae.model.training.latent_figures import COPIES, FORMS, measure_probe, measure_retrieval, measure_units
from adavae.model.training.operations import Operations
from adavae.model.training.paraphrases import Paraphrases, measure_paraphrases
from adavae.model.training.progress import OnDone, OnStage, ignore_stage
from adavae.model.training.transfer import AttributeJudge
from adavae.model.training.walks import STEPS, measure_walks

Figures = dict[str, Any]
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


def measure_latent_space(
    operations: Operations,
    held_out: Dataset,
    learned: Dataset | None,
    config: LatentSpaceConfig,
    on_stage: OnStage = ignore_stage,
    *,
    judges: Judges | None = None,
    paraphrases: Paraphrases | None = None,
) -> Figures:
    """Runs every requested group of measures.

    Args:
        operations: The latent space to measure.
        held_out: Real texts from which neither the set nor a judge has learned.
        learned: The set's training texts, from which judges learn; without them there are no judges, so walks are
            measured without fluency, and draws and analogies not at all.
        config: What to measure.
        on_stage: Called with the stage, the number of cases done and their total.
        judges: Trained before, to measure many variants on the same data; trained here if left out.
        paraphrases: Pairs of texts that say the same, measured with ``latents``.

    Returns:
        Figures by group, ``judges``, ``samples`` of the texts, and ``left_out``: why a group is missing.

    Raises:
        DatasetError: As ``check_groups`` does, before anything is measured.
    """
    if judges is None:
        judges = judges_for(held_out, learned, config, on_stage)
    check_groups(held_out, learned, judges, config)
    run = _Run(_Cases(held_out, learned, judges, config), operations, on_stage, paraphrases)
    figures: Figures = {}
    samples: Figures = {}
    left_out: dict[str, str] = {}
    for group in config.groups or tuple(Group):
        try:
            measured = _MEASURES[group](run)
        except DatasetError as exc:
            left_out[group.value] = str(exc)
            continue
        if "samples" in measured:
            samples[group.value] = measured.pop("samples")
        figures[group.value] = measured
    judged_by = _trust_in(judges, learned, held_out)
    report = {"judges": judged_by, **figures, "samples": samples, "left_out": left_out}
    return {"seed": config.seed, **{name: value for name, value in report.items() if value}}


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
    cases = _Cases(held_out, learned, judges, config)
    for group in config.groups or ():
        _NEEDS[group](cases)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The analogies of one direction between labels."""

    source: str
    target: str
    pairs: list[Pair]
    sentences: list[str]


@dataclass(frozen=True, slots=True)
class _Cases:
    """What is measured on; each method raises DatasetError where the data do not have it."""

    held_out: Dataset
    learned: Dataset | None
    judges: Judges
    config: LatentSpaceConfig

    def texts(self) -> tuple[Sequence[str], Sequence[str] | None]:
        """The first distinct held-out texts, two or more, and their labels."""
        rows = list({text: row for row, text in reversed(list(enumerate(self.held_out.texts)))}.values())
        rows = sorted(rows)[: self.config.num_texts]
        if len(rows) < 2:
            raise DatasetError(f"{self.held_out.source}: all texts are copies of one: give at least two different ones")
        labels = self.held_out.labels
        return [self.held_out.texts[row] for row in rows], None if labels is None else [labels[row] for row in rows]

    def beside_draws(self) -> tuple[Sequence[str], FluencyJudge]:
        """The training texts, and the judge who has read them."""
        if self.learned is None or self.judges.fluency is None:
            raise DatasetError(f"draws need a judge who has read the training texts: {_GIVE_TEXTS}")
        return self.learned.texts, self.judges.fluency

    def analogies(self) -> tuple[list[_Drawn], AttributeJudge, FluencyJudge]:
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
            drawn.append(_Drawn(source, target, pairs, sentences))
        return drawn, attribute, fluency


@dataclass(frozen=True, slots=True)
class _Run:
    """What every group needs."""

    cases: _Cases
    operations: Operations
    on_stage: OnStage
    paraphrases: Paraphrases | None

    @property
    def config(self) -> LatentSpaceConfig:
        return self.cases.config

    def stage(self, name: str) -> OnDone:
        return lambda done, total: self.on_stage(name, done, total)


def _walks(run: _Run) -> Figures:
    walks = measure_walks(
        run.operations,
        run.cases.held_out.texts,
        run.cases.judges.fluency,
        num_walks=run.config.num_walks,
        steps=run.config.steps,
        seed=run.config.seed,
        num_examples=-(-run.config.num_samples // 10),
        on_done=run.stage("walks"),
    )
    return _with_samples(asdict(walks))


def _draws(run: _Run) -> Figures:
    training_texts, judge = run.cases.beside_draws()
    draws = measure_draws(
        run.operations,
        training_texts,
        run.cases.held_out.texts,
        judge,
        num_draws=run.config.num_draws,
        seed=run.config.seed,
        num_examples=run.config.num_samples,
        on_done=run.stage("draws"),
    )
    return _with_samples(asdict(draws))


def _analogies(run: _Run) -> Figures:
    drawn, attribute, fluency = run.cases.analogies()
    directions = [
        measure_direction(
            run.operations,
            each.pairs,
            each.sentences,
            attribute,
            fluency,
            source=each.source,
            target=each.target,
            on_done=run.stage(f"{each.source} -> {each.target}"),
            num_examples=-(-run.config.num_samples // 10),
        )
        for each in drawn
    ]
    return {
        **summary([outcome for direction in directions for outcome in direction.outcomes]),
        **{direction.name: direction.figures() for direction in directions},
        "samples": {direction.name: list(map(list, direction.examples)) for direction in directions},
    }


def _latents(run: _Run) -> Figures:
    texts, labels = run.cases.texts()
    run.on_stage("latents", 0, len(texts))
    encoded = run.operations.encode(texts)
    retrieval = {name: measure_retrieval(run.operations, texts, encoded.mu, change) for name, change in COPIES.items()}
    probe = None if labels is None else measure_probe(encoded.mu, labels, seed=run.config.seed)
    pairs = None if run.paraphrases is None else measure_paraphrases(run.operations, run.paraphrases)
    run.on_stage("latents", len(texts), len(texts))
    return {
        "units": asdict(measure_units(Posterior(encoded.mu, encoded.logvar))),
        **({} if probe is None else {"probe": asdict(probe)}),
        **({} if pairs is None else {"paraphrases": asdict(pairs)}),
        **{name: asdict(found) for name, found in retrieval.items() if found is not None},
    }


def _forms(run: _Run) -> Figures:
    texts, _ = run.cases.texts()
    run.on_stage("forms", 0, len(texts))
    mu = run.operations.encode(texts).mu
    forms = {name: measure_retrieval(run.operations, texts, mu, change) for name, change in FORMS.items()}
    run.on_stage("forms", len(texts), len(texts))
    return {name: asdict(figures) for name, figures in forms.items() if figures is not None}


_JUDGED = frozenset({Group.WALKS, Group.DRAWS, Group.ANALOGIES})
_NEEDS: dict[Group, Callable[[_Cases], object]] = {
    Group.WALKS: _Cases.texts,
    Group.DRAWS: _Cases.beside_draws,
    Group.ANALOGIES: _Cases.analogies,
    Group.LATENTS: _Cases.texts,
    Group.FORMS: _Cases.texts,
}
_MEASURES: dict[Group, Callable[[_Run], Figures]] = {
    Group.WALKS: _walks,
    Group.DRAWS: _draws,
    Group.ANALOGIES: _analogies,
    Group.LATENTS: _latents,
    Group.FORMS: _forms,
}


def _bounded(learned: Dataset) -> Dataset:
    """A random part of it, small enough for a judge to learn in seconds."""
    rows = list(range(len(learned.texts)))
    random.Random(0).shuffle(rows)
    ends = accumulate(len(learned.texts[row]) for row in rows)
    chosen = sorted(row for row, end in zip(rows, ends, strict=True) if end <= _MAX_CHARACTERS)
    return learned if len(chosen) == len(rows) else learned.rows(chosen or rows[:1], learned.source)


def _with_samples(figures: Figures) -> Figures:
    """A report as JSON, with its examples as samples and without figures that were not measured."""
    samples = [list(each) if isinstance(each, tuple) else each for each in figures.pop("examples")]
    return {**{name: value for name, value in figures.items() if value is not None}, "samples": samples}


def _trust_in(judges: Judges, learned: Dataset | None, held_out: Dataset) -> Figures:
    """How far the judges are to be trusted."""
    trust: Figures = {}
    if judges.fluency is not None and learned is not None:
        trust["fluency"] = {
            "order": JUDGE_ORDER,
            "data": learned.source,
            "texts": judges.num_texts,
            "words": len(judges.fluency.language_model.vocabulary),
            **asdict(judges.fluency.measure(held_out.texts)),
        }
    if judges.attribute is not None:
        trust["attribute_accuracy"] = judges.attribute.accuracy_on(held_out.texts, held_out.labels or ())
    return trust
