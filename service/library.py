"""``adavae.train`` and ``adavae.evaluate``: what the commands of that name do, for texts that a program holds.

Texts go the way of every file, through the one reader, so that they are cleaned and checked alike whichever door they
come through.
"""

import json
import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from adavae.model.errors import ConfigError, DatasetError
from adavae.model.given_numbers import whole
from adavae.model.given_texts import check_text, fault_of_rows
from adavae.model.loaded_set import LoadedSet
from adavae.model.storage.adapter_name import check_name
from adavae.model.storage.manifest import Manifest
from adavae.model.text_model import TextModel
from adavae.model.training.config import Preset, preset_config
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.evaluation import EvaluationConfig, label_notes
from adavae.model.training.evaluation import evaluate as measure
from adavae.model.training.latent_cases import LatentSpaceConfig
from adavae.model.training.latent_space import measure_latent_space
from adavae.model.training.operations import AsServed
from adavae.model.training.preparation import TrainingRequest
from adavae.model.training.progress import Progress
from adavae.model.training.run import train_adapter_set
from adavae.service.jobs.worker.verdict import judge_use
from adavae.service.loading import load_pretrained, load_text_model, open_store
from adavae.service.progress_line import progress_line
from adavae.service.settings import load_settings

Texts = Iterable[str]
Labels = Iterable[object]


def train(
    texts: Texts,
    labels: Labels | None,
    *,
    name: str,
    preset: str,
    validation_texts: Texts | None,
    validation_labels: Labels | None,
    truncate: bool,
    device: str | None,
    progress: bool | None,
    num_processes: int,
    init_from: str | None,
    options: dict[str, Any],
) -> LoadedSet:
    """As ``adavae.train``, which documents it."""
    check_name(name)
    settings = load_settings()
    settings.need_directory("training in a program")
    initial = None if init_from is None else open_store(settings).read(init_from)
    pretrained = load_pretrained(settings, device, weight_format="float16")
    config = preset_config(_preset(preset), pretrained.backbone.config)
    if initial is not None:
        config = config.going_on_from(initial.manifest.reference, initial.manifest.config)
    config = config.with_options(options)
    settings.runs.mkdir(parents=True, exist_ok=True)
    line = progress_line(progress)

    @contextmanager
    def publishing(manifest: Manifest) -> Iterator[None]:
        judge_use(manifest.metrics, manifest.config.labels, manifest.training["preset"])
        yield

    def show(step: Progress) -> None:
        line.update("train", step.step, step.total_steps, f"loss {step.loss:.3f}")

    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=settings.runs) as made:
        directory = Path(made)
        held_back = None if validation_texts is None else directory / "validation_texts.jsonl"
        _write(directory / "texts.jsonl", texts, labels, "texts", "labels")
        if held_back is not None and validation_texts is not None:
            _write(held_back, validation_texts, validation_labels, "validation_texts", "validation_labels")
        elif validation_labels is not None:
            raise ConfigError("validation_labels", "given", "needs validation_texts, one a label")
        request = TrainingRequest(
            name=name,
            data=directory / "texts.jsonl",
            validation=held_back,
            config=config,
            truncate=truncate,
            initial=initial,
            source="texts of a program",
        )
        with _places_of(directory):
            adapter_set = train_adapter_set(
                request,
                pretrained,
                directory=directory,
                destination=settings.own_adapters,
                on_progress=show,
                on_evaluation=line.update,
                on_note=line.say,
                publishing=publishing,
                num_processes=num_processes,
            )
    line.end()
    reference = adapter_set.manifest.reference
    return LoadedSet(load_text_model(settings, [reference], device), reference)


def evaluate(
    texts: Texts,
    labels: Labels | None,
    *,
    adapter: str | LoadedSet | None,
    judge_texts: Texts | None,
    judge_labels: Labels | None,
    importance_samples: int,
    importance_rows: int,
    decoded: int,
    latent_space: bool,
    seed: int,
    device: str | None,
    progress: bool | None,
) -> dict[str, Any]:
    """As ``adavae.evaluate``, which documents it."""
    held_out = dataset_of(texts, labels, "texts", "labels")
    learned = None if judge_texts is None else dataset_of(judge_texts, judge_labels, "judge_texts", "judge_labels")
    if learned is not None and learned.digest == held_out.digest:
        raise ConfigError("judge_texts", "the texts themselves", "must be others: a judge must not have read them")
    text_model, name = _model_of(adapter, device)
    line = progress_line(progress)
    for note in label_notes(text_model.config_of(name).labels, held_out):
        line.say(note)
    config = EvaluationConfig(
        num_importance_samples=whole("importance_samples", importance_samples),
        max_importance_rows=whole("importance_rows", importance_rows),
        max_decoded=whole("decoded", decoded),
        seed=whole("seed", seed),
    )
    figures = measure(text_model, name, held_out, config, line.update)
    if latent_space:
        space = LatentSpaceConfig(seed=config.seed)
        figures["latent_space"] = measure_latent_space(
            AsServed(text_model, name), held_out, learned, space, line.update
        )
    line.end()
    return figures


def dataset_of(texts: Texts, labels: Labels | None, field: str, label_field: str) -> Dataset:
    """Texts as they are read from a file.

    Raises:
        ConfigError: What is given is no column of texts, or there is not one label a text.
        DatasetError: A text cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="adavae-") as made:
        path = Path(made) / f"{field}.jsonl"
        _write(path, texts, labels, field, label_field)
        with _places_of(path.parent):
            return replace(read_dataset(path, require_labels=False), source="texts of a program")


@contextmanager
def _places_of(directory: Path) -> Iterator[None]:
    """Has errors name texts by their places in what was given, in place of lines of the files made of it here."""
    named = re.compile(rf"(?:{re.escape(str(directory))}/)?\b(\w*texts)\.jsonl(?::(\d+))?")
    try:
        yield
    except DatasetError as exc:
        told = named.sub(lambda found: found[1] + (f"[{int(found[2]) - 1}]" if found[2] else ""), str(exc))
        raise DatasetError(told) from exc


def _write(path: Path, texts: Texts, labels: Labels | None, field: str, label_field: str) -> None:
    """One object a line, as ``datasets`` and pandas write them."""
    rows = _column(field, texts)
    names: Sequence[object] = [] if labels is None else _column(label_field, labels)
    if labels is not None and len(names) != len(rows):
        raise ConfigError(label_field, f"{len(names)} labels", f"must be one for each of the {len(rows)} {field}")
    with path.open("w", encoding="utf-8") as file:
        for place, text in enumerate(rows):
            check_text(f"{field}[{place}]", text)
            row: dict[str, object] = {"text": text}
            if labels is not None:
                row["label"] = _label(label_field, place, names[place])
            file.write(json.dumps(row) + "\n")


def _column(field: str, values: Iterable[object]) -> list[object]:
    """A list, an array, or a column of pandas, polars, datasets or pyarrow, as plain values of Python."""
    if (fault := fault_of_rows(values)) is not None:
        raise ConfigError(field, type(values).__name__, fault)
    for method in ("tolist", "to_list", "to_pylist"):
        if hasattr(values, method):
            return list(getattr(values, method)())
    return list(values)


def _label(field: str, place: int, value: object) -> str | int | float | bool | None:
    """A label as JSON has it; the reader spells it, so that it has one spelling through every door."""
    plain = value.item() if isinstance(value, np.generic) else value
    if plain is None or type(plain).__name__ == "NAType" or (isinstance(plain, float) and math.isnan(plain)):
        return None
    if not isinstance(plain, str | int | float):
        raise ConfigError(f"{field}[{place}]", value, "must be a string, a number, a boolean, or None")
    return plain


def _preset(preset: str) -> Preset:
    try:
        return Preset(preset)
    except ValueError:
        raise ConfigError("preset", preset, f"must be one of {[str(each) for each in Preset]}") from None


def _model_of(adapter: str | LoadedSet | None, device: str | None) -> tuple[TextModel, str]:
    if isinstance(adapter, LoadedSet):
        return adapter.text_model, adapter.name
    settings = load_settings()
    name = adapter or settings.default_adapter
    return load_text_model(settings, [name], device), name
