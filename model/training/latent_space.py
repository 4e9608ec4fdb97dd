"""What a latent space writes, measured: walks, draws, analogies, what z holds, and the form of a text.

Runs the measures one after the other on the cases of ``latent_cases``, and collects their figures in one JSON object.
Each figure is defined where it is measured.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from adavae.model.errors import DatasetError
from adavae.model.parts.posterior import Posterior
from adavae.model.training.analogies import measure_direction, summary
from adavae.model.training.corpus import Dataset
from adavae.model.training.draws import measure_draws
from adavae.model.training.fluency import JUDGE_ORDER
from adavae.model.training.latent_cases import Cases, Group, Judges, LatentSpaceConfig, check_groups, judges_for
from adavae.model.training.latent_figures import COPIES, FORMS, measure_probe, measure_retrieval, measure_units
from adavae.model.training.measures import finite_figures
from adavae.model.training.operations import Operations
from adavae.model.training.paraphrases import Paraphrases, measure_paraphrases
from adavae.model.training.progress import OnDone, OnStage, ignore_stage
from adavae.model.training.walks import measure_walks

Figures = dict[str, Any]

_MOST_CHARACTERS = 500  # of a text that is kept as an example


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
        Figures by group, ``judges``, ``samples`` of the texts, and ``left_out``: why a group is missing; without those
        that overflow, and with long texts cut.

    Raises:
        DatasetError: As ``check_groups`` does, before anything is measured.
    """
    if judges is None:
        judges = judges_for(held_out, learned, config, on_stage)
    check_groups(held_out, learned, judges, config)
    run = _Run(Cases(held_out, learned, judges, config), operations, on_stage, paraphrases)
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
    return finite_figures({"seed": config.seed, **{name: _shortened(each) for name, each in report.items() if each}})


def _shortened(value: Any) -> Any:
    """A report with every text of it cut: a text that somebody gave may be as large as a whole manifest."""
    if isinstance(value, Mapping):
        return {name: _shortened(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_shortened(each) for each in value]
    is_long = isinstance(value, str) and len(value) > _MOST_CHARACTERS
    return f"{value[: _MOST_CHARACTERS - 1]}\u2026" if is_long else value


@dataclass(frozen=True, slots=True)
class _Run:
    """What every group needs."""

    cases: Cases
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


_MEASURES: dict[Group, Callable[[_Run], Figures]] = {
    Group.WALKS: _walks,
    Group.DRAWS: _draws,
    Group.ANALOGIES: _analogies,
    Group.LATENTS: _latents,
    Group.FORMS: _forms,
}


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
