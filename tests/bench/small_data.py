"""Accuracy of ``adavae train`` at defaults from few labelled texts, beside TF-IDF and the commonest label.

python -m tests.bench.small_data FOLDER --output cells.jsonl [--sets yelp trec sst2] [--texts 30 100 300 3000]
    [--seeds 5] [--preset classification] [--learning-rate 0.002] [--most-steps N] [--device auto]
python -m tests.bench.small_data --table cells.jsonl

FOLDER has one folder per set, with train.tsv and test.tsv (or valid.tsv if the test texts have no labels). Each cell
draws its texts from train.tsv by its seed, trains with only the preset's settings, and is measured on the same 1,000
test texts. A cell is one JSON line; cells already in the output are not measured again.

With fewer texts than the preset's ``encoder_texts`` encoder and head stay where the run begins, and steps train the
decoder alone: there ``--most-steps 1`` gives the same accuracy in a tenth of the time.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from adavae.model.errors import AdaVAEError
from adavae.model.storage.pretrained import PretrainedBackbone, load_backbone
from adavae.model.text_model import TextModel
from adavae.model.training.config import Preset, TrainingConfig, preset_config
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.evaluation import EvaluationConfig
from adavae.model.training.measures import accuracy
from adavae.model.training.preparation import TrainingRequest
from adavae.model.training.run import train_adapter_set
from adavae.service.jobs.worker.verdict import judge_use
from adavae.service.loading import choose_device
from adavae.service.settings import keep_few_kernels

BACKBONE = Path(__file__).parents[2] / "weights" / "backbone"
NO_FIGURES = EvaluationConfig(num_importance_samples=0, max_decoded=0)
NUM_TEST_TEXTS = 1000


def drawn(dataset: Dataset, num: int, seed: int) -> Dataset:
    """Some texts of a dataset, or all if there are not that many."""
    places = range(len(dataset.texts))
    return dataset.rows(sorted(random.Random(seed).sample(places, min(num, len(places)))), dataset.source)


def tf_idf_accuracy(training: Dataset, test: Dataset) -> float:
    """Of TF-IDF over 1- and 2-grams, none left out, with logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"[^\s]+")
    classifier = make_pipeline(vectorizer, LogisticRegression(max_iter=1000, C=10.0))
    classifier.fit(training.texts, training.labels)
    return accuracy([str(label) for label in classifier.predict(test.texts)], test.labels or ())


def measure(pretrained: PretrainedBackbone, training: Dataset, test: Dataset, config: TrainingConfig) -> Any:
    """One cell."""
    labels, started = training.labels or (), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        directory, data = Path(name), Path(name) / "few.tsv"
        rows = (f"{label}\t{text}\n" for label, text in zip(labels, training.texts, strict=True))
        data.write_text("label\ttext\n" + "".join(rows), encoding="utf-8")
        adapter_set = train_adapter_set(
            TrainingRequest(
                name="few",
                data=data,
                validation=None,
                config=config,
                truncate=True,
                evaluation=NO_FIGURES,
            ),
            pretrained,
            directory=directory / "run",
            destination=directory / "adapters",
        )
    manifest = adapter_set.manifest
    text_model = TextModel.of_sets(pretrained, {"few": adapter_set})
    predicted = [verdict.label for verdict in text_model.classify(test.texts, "few", truncate=True)]
    commonest = Counter(labels).most_common(1)[0][0]
    return {
        "accuracy": accuracy(predicted, test.labels or ()),
        "tf_idf": tf_idf_accuracy(training, test),
        "majority": accuracy([commonest] * len(test.texts), test.labels or ()),
        "is_published": is_published(manifest.metrics, manifest.config.labels, str(config.preset)),
        "steps": manifest.training["steps"],
        "training_s": manifest.training["duration_s"],
        "wall_s": round(time.perf_counter() - started),
    }


def is_published(metrics: Any, labels: tuple[str, ...], preset: str) -> bool:
    try:
        judge_use(metrics, labels, preset)
    except AdaVAEError:
        return False
    return True


def run(arguments: argparse.Namespace) -> None:
    done = {_key(cell) for cell in _cells(arguments.output)}
    pretrained = load_backbone(BACKBONE, device=choose_device(arguments.device))
    config = replace(
        preset_config(Preset(arguments.preset), pretrained.backbone.config), max_steps=arguments.most_steps
    )
    if arguments.learning_rate is not None:
        config = replace(config, learning_rate=arguments.learning_rate)
    for seed in range(arguments.seeds):
        for num in arguments.texts:
            for name in arguments.sets:
                cell = {"set": name, "texts": num, "seed": seed, "preset": arguments.preset}
                cell["learning_rate"] = config.learning_rate
                if _key(cell) in done:
                    continue
                folder = arguments.folder / name
                held = next(path for path in (folder / "test.tsv", folder / "valid.tsv") if _has_labels(path))
                training = drawn(read_dataset(folder / "train.tsv", require_labels=True), num, seed)
                test = drawn(read_dataset(held, require_labels=True), NUM_TEST_TEXTS, 0)
                cell |= measure(pretrained, training, test, replace(config, seed=seed))
                with arguments.output.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(cell) + "\n")


def table(path: Path) -> str:
    """Mean and deviation over the seeds, in Markdown."""
    groups: dict[tuple[str, float, str, int], list[dict[str, Any]]] = {}
    for cell in _cells(path):
        groups.setdefault((cell["preset"], cell["learning_rate"], cell["set"], cell["texts"]), []).append(cell)
    lines = [
        "| preset | learning rate | set | texts | accuracy | TF-IDF | commonest label | published |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (preset, rate, name, num), cells in sorted(groups.items()):
        shown = [_shown([cell[figure] for cell in cells]) for figure in ("accuracy", "tf_idf", "majority")]
        published = f"{sum(cell['is_published'] for cell in cells)} of {len(cells)}"
        lines.append(f"| {preset} | {rate:g} | {name} | {num:,} | {' | '.join(shown)} | {published} |")
    return "\n".join(lines) + "\n"


def _shown(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def _cells(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _key(cell: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(cell[name] for name in ("set", "texts", "seed", "preset", "learning_rate"))


def _has_labels(path: Path) -> bool:
    """Whether the labels differ: some published test sets have one placeholder for all."""
    return path.exists() and len(read_dataset(path).label_names) > 1


def main() -> None:
    keep_few_kernels()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--output", type=Path, default=Path("small_data.jsonl"))
    parser.add_argument("--sets", nargs="+", default=["yelp", "trec", "sst2"])
    parser.add_argument("--texts", nargs="+", type=int, default=[30, 100, 300, 3000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--preset", choices=list(map(str, Preset)), default="classification")
    parser.add_argument("--learning-rate", type=float, help="In place of the preset's.")
    parser.add_argument("--most-steps", type=int)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--table", type=Path)
    arguments = parser.parse_args()
    if arguments.table is not None:
        sys.stdout.write(table(arguments.table))
    elif arguments.folder is None:
        parser.error("FOLDER or --table is needed")
    else:
        run(arguments)


if __name__ == "__main__":
    main()
