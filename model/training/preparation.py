"""What a run trains, and on what: read, checked and tokenized as a whole before the first step."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from adavae.model.errors import DatasetError
from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.config import Preset, TrainingConfig
from adavae.model.training.corpus import Dataset, drawn_rows, read_dataset
from adavae.model.training.evaluation import EvaluationConfig
from adavae.model.training.latent_cases import LatentSpaceConfig
from adavae.model.training.likeness import label_warnings
from adavae.model.training.overlap import overlap_notes
from adavae.model.training.progress import OnStage, ignore_stage, of_stage
from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.model.training.readers.packed import has_columns
from adavae.model.training.splitting import split_validation
from adavae.model.training.text_forms import form_rows
from adavae.model.training.tokenized_texts import TokenizedTexts, tokenize

_MAX_LEARNED_ROWS = 20_000
_FEW_TO_JUDGE_BY = 10  # of one text more or less right, an accuracy moves by ten points


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """What to train, and on what.

    Attributes:
        name: Name of the adapter set.
        data: Training texts.
        validation: Validation texts; None to split some off the training texts.
        config: The run's settings; labels are taken from the data.
        truncate: Cut texts that are longer than the context instead of refusing them.
        limit: Use only this many rows, drawn by the run's seed; None for all.
        columns: Which columns of the files hold text, pair and label.
        validation_columns: Those of the validation texts, where they are others; plain text needs none.
        initial: The set to continue from, which ``config.init_from`` names; None to start afresh.
        command: The user's command, for the model card.
        source: Name of the training data in the model card; the file's name if left out.
        evaluation: How the finished set is measured on the validation texts.
    """

    name: str
    data: Path
    validation: Path | None
    config: TrainingConfig
    truncate: bool = False
    limit: int | None = None
    columns: Columns = GUESSED
    validation_columns: Columns | None = None
    initial: AdapterSet | None = None
    command: str = ""
    source: str | None = None
    evaluation: EvaluationConfig = field(
        default_factory=lambda: EvaluationConfig(
            max_decoded=1000,
            latent_space=LatentSpaceConfig(
                num_walks=20, num_draws=500, num_pairs=20, num_sentences=5, num_texts=1000, num_samples=30
            ),
        )
    )


@dataclass(frozen=True, slots=True)
class DataOrigin:
    """Facts about the training texts, of which only the token ids are kept."""

    source: str
    rows: int
    digest: str

    @classmethod
    def of(cls, dataset: Dataset) -> "DataOrigin":
        return cls(dataset.source, len(dataset.texts), dataset.digest)


@dataclass(frozen=True, slots=True)
class PreparedData:
    """Checked texts, ready to train on.

    Attributes:
        training: Origin of the training texts.
        learned: A bounded sample of them, from which the judges of the latent space learn.
        validation: Held-back texts.
        labels: Names of the head's classes; empty for no head.
        num_truncated: Number of texts that were cut to the context.
        notes: What a user should know of the data, in plain words.
    """

    training: DataOrigin
    learned: Dataset
    validation: Dataset
    training_tokens: TokenizedTexts
    validation_tokens: TokenizedTexts
    labels: tuple[str, ...]
    num_truncated: int
    notes: tuple[str, ...] = ()


def prepare(request: TrainingRequest, pretrained: PretrainedBackbone, on_stage: OnStage = ignore_stage) -> PreparedData:
    """Reads and checks everything before the first step; ``on_stage`` is told how far it is.

    Raises:
        DatasetError: A file or a line of it cannot be used.
        SequenceTooLong: A text is longer than the context and ``truncate`` is not set.
    """
    seed = request.config.seed
    training = read_dataset(
        request.data,
        require_labels=request.config.preset is Preset.CLASSIFICATION,
        limit=request.limit,
        seed=seed,
        columns=request.columns,
        on_done=of_stage("read texts", on_stage),
    )
    labels, notes = _head_labels(training, request.config.preset)
    notes = (*training.notes, *label_warnings(Counter(training.labels or ())), *notes)
    if request.validation is None:
        training, validation = split_validation(training, seed=seed)
    else:
        validation = read_dataset(
            request.validation,
            require_labels=bool(labels),
            least_labels=1,
            columns=request.validation_columns or _columns_like(request.columns, request.validation),
        )
        notes += overlap_notes(training, validation, of_stage("compare texts", on_stage))
    notes += _few_notes(len(training.texts), len(validation.texts))
    if unknown := sorted(set(validation.label_names) - set(labels)) if labels else []:
        raise DatasetError(f"{validation.source}: has labels that the training data lacks: {unknown}")
    max_tokens = pretrained.backbone.config.n_positions - 1
    on_done = of_stage("tokenize texts", on_stage)
    tokens, num_truncated = tokenize(
        training, pretrained.tokenizer, max_tokens, truncate=request.truncate, on_done=on_done
    )
    held_tokens, _ = tokenize(validation, pretrained.tokenizer, max_tokens, truncate=True)
    first = tokens[0]
    if all(row == first for row in chain(tokens, held_tokens)):
        how = f"the same as far as they are read, their first {max_tokens:,} tokens: cut off what they share"
        raise DatasetError(f"{training.source}: all texts are {how if num_truncated else 'copies of one: add others'}")
    forms = None
    if request.config.form_share > 0:
        on_done = of_stage("tokenize other forms", on_stage)
        forms = form_rows(training.texts, tokens, pretrained.tokenizer, max_tokens, seed=seed, on_done=on_done)
    return PreparedData(
        DataOrigin.of(training),
        training.rows(drawn_rows(len(training.texts), _MAX_LEARNED_ROWS, seed), training.source),
        validation,
        TokenizedTexts.of(training, tokens, labels, forms),
        TokenizedTexts.of(validation, held_tokens, labels),
        labels,
        num_truncated,
        notes,
    )


def _head_labels(training: Dataset, preset: Preset) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels that a head learns, none for no head, and what a user should know of that."""
    names = training.label_names
    if preset.trains_head(len(names)):
        return names, ()
    if len(names) == 1 and preset is not Preset.LANGUAGE_MODELLING:
        return (), (f"every text has the label {names[0]!r}: trained without a head, which needs at least 2 labels",)
    return (), ()


def _few_notes(num_training: int, num_validation: int) -> tuple[str, ...]:
    """Whether a set is judged by so few texts that nothing can be told of it."""
    if num_validation >= _FEW_TO_JUDGE_BY:
        return ()
    texts = "text" if num_validation == 1 else "texts"
    learned = f"learns from {num_training:,}, judged by {num_validation} {texts}"
    return (f"{learned}: its figures, and which step was the best, cannot be told from so few; give some hundred",)


def _columns_like(columns: Columns, path: Path) -> Columns:
    """The training texts' columns as those of the validation texts at ``path``; plain text has none."""
    return columns if has_columns(path) else GUESSED
