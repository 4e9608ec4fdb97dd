"""What each choice of the preset ``generation`` is worth: one run a row, every row with the same budget of texts.

python -m tests.bench.ablation FOLDER --output rows.jsonl [--steps 300] [--rows "as shipped" "beta 0.12" ...]
    [--init-from yelp] [--threads 2]
python -m tests.bench.ablation --table rows.jsonl

FOLDER holds train.tsv and valid.tsv. A row differs from the preset in what its name says and in nothing else: same
texts, same order, same number of steps, same seed. Each trained set is measured as it would be served, by the judges
of ``adavae evaluate``, on the validation texts. Rows that stand in the output already are not run again.

From nothing, a few hundred steps tell how fast a set learns to write, more than what it will write in the end. With
``--init-from`` every row goes on from a bundled set instead, at a learning rate of 2e-3, and the set as it is comes
first; rows of another shape are left out.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from adavae.model.storage.adapter_set import AdapterSet
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.pretrained import PretrainedBackbone, load_backbone
from adavae.model.text_model import TextModel
from adavae.model.training.config import FreeBits, Preset, TrainingConfig, preset_config
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.evaluation import EvaluationConfig, evaluate
from adavae.model.training.latent_cases import Group, Judges, LatentSpaceConfig
from adavae.model.training.latent_space import measure_latent_space
from adavae.model.training.operations import AsServed
from adavae.model.training.preparation import TrainingRequest
from adavae.model.training.run import train_adapter_set
from adavae.service.loading import choose_device
from adavae.service.settings import keep_few_kernels

BACKBONE = Path(__file__).parents[2] / "weights" / "backbone"
ADAPTERS = BACKBONE.parent / "adapters"
AS_IT_IS = "before"
_GOING_ON = 2e-3  # the learning rate at which the bundled set was gone on with
UNMEASURED = EvaluationConfig(num_importance_samples=0, max_decoded=0)
MEASURED = EvaluationConfig(num_importance_samples=0, max_decoded=200)
SPACE = LatentSpaceConfig(
    groups=(Group.WALKS, Group.DRAWS, Group.ANALOGIES, Group.LATENTS),
    num_walks=20,
    num_draws=200,
    num_pairs=8,
    num_sentences=5,
    num_texts=500,
)
NUM_LEARNED = 20_000  # training texts that the judges learn from
ROWS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "no denoising": {"input_dropout": 0.0, "form_share": 0.0},
    "denoising 0.15": {"input_dropout": 0.15},
    "denoising 0.5": {"input_dropout": 0.5},
    "forms left alone": {"form_share": 0.0},
    "beta 0.03": {"beta": 0.03},
    "beta 0.12": {"beta": 0.12},
    "no denoising, beta 0.12": {"input_dropout": 0.0, "form_share": 0.0, "beta": 0.12},
    "free bits 0.1 a dimension": {"free_bits": 0.1, "free_bits_form": FreeBits.PER_DIMENSION},
    "word dropout 0.2": {"word_dropout": 0.2},
    "K = 1 latent head": {"adapter": {"latent_heads": 1}},
    "K = 4": {"adapter": {"latent_heads": 4}},
    "M = 1 latent position": {"adapter": {"latent_positions": 1}},
    "M = 4": {"adapter": {"latent_positions": 4}},
    "Z = 64": {"adapter": {"latent_size": 64}},
    "Z = 128": {"adapter": {"latent_size": 128}},
}
COLUMNS: dict[str, str] = {
    "BLEU-4": "figures.bleu4",
    "reconstruction, nats a text": "figures.reconstruction_nats",
    "KL": "figures.kl",
    "walks: different of 11": "space.walks.distinct",
    "walks: inner nats a word": "space.walks.fluency.nats",
    "draws: worse than 95 % by SLOR": "space.draws.fluency.worse_by_slor",
    "analogies: moved": "space.analogies.moved",
    "worst pair": "space.analogies.moved_worst",
    "kept": "space.analogies.kept",
    "worse than 95 % by SLOR": "space.analogies.worse_by_slor",
    "probe": "space.latents.probe.accuracy",
    "head": "figures.accuracy",
}


def configured(
    changes: dict[str, Any], base: TrainingConfig, steps: int, initial: AdapterSet | None = None
) -> TrainingConfig:
    """The preset with a row's changes, for so many steps."""
    base = replace(base, adapter=replace(base.adapter, **changes.get("adapter", {})))
    if initial is not None:
        manifest = initial.manifest
        base = replace(base.going_on_from(manifest.reference, manifest.config), learning_rate=_GOING_ON)
    others = {name: value for name, value in changes.items() if name != "adapter"}
    return replace(base, **others, epochs=1000.0, max_steps=steps, validations=1)


def measure(
    pretrained: PretrainedBackbone,
    folder: Path,
    config: TrainingConfig,
    learned: Dataset,
    judges: Judges,
    initial: AdapterSet | None = None,
) -> dict[str, Any]:
    """Trains one row and measures it."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        request = TrainingRequest(
            name="row",
            data=folder / "train.tsv",
            validation=folder / "valid.tsv",
            config=config,
            truncate=True,
            evaluation=UNMEASURED,
            initial=initial,
        )
        adapter_set = train_adapter_set(
            request, pretrained, directory=Path(name) / "run", destination=Path(name) / "adapters"
        )
        trained_s = time.perf_counter() - started
        figures = written(pretrained, adapter_set, folder, learned, judges)
    return {**figures, "train_s": round(trained_s), "s": round(time.perf_counter() - started)}


def written(
    pretrained: PretrainedBackbone, adapter_set: AdapterSet, folder: Path, learned: Dataset, judges: Judges
) -> dict[str, Any]:
    """What a set rebuilds and what its latent space writes."""
    held_out = read_dataset(folder / "valid.tsv", require_labels=True)
    text_model = TextModel.of_sets(pretrained, {"row": adapter_set})
    figures = evaluate(text_model, "row", held_out, MEASURED)
    space = measure_latent_space(AsServed(text_model, "row"), held_out, learned, SPACE, judges=judges)
    return {"figures": figures, "space": space}


def run(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    done = {row["row"] for row in _rows(arguments.output)}
    pretrained = load_backbone(BACKBONE, device=choose_device(arguments.device))
    base = preset_config(Preset.GENERATION, pretrained.backbone.config)
    folder: Path = arguments.folder
    learned = read_dataset(folder / "train.tsv", require_labels=True, limit=NUM_LEARNED)
    judges = Judges.of(learned, read_dataset(folder / "valid.tsv"))
    initial = None if arguments.init_from is None else AdapterStore(ADAPTERS).read(arguments.init_from)

    def keep(name: str, steps: int, row: dict[str, Any]) -> None:
        with arguments.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"row": name, "steps": steps, **row}) + "\n")

    if initial is not None and AS_IT_IS not in done:
        keep(AS_IT_IS, 0, written(pretrained, initial, folder, learned, judges))
    for name in arguments.rows or ROWS:
        if name in done or (initial is not None and "adapter" in ROWS[name]):
            continue
        config = configured(ROWS[name], base, arguments.steps, initial)
        keep(name, arguments.steps, measure(pretrained, folder, config, learned, judges, initial))


def table(path: Path) -> str:
    """One line a row, in Markdown."""
    lines = [f"| {' | '.join(['row', *COLUMNS])} |", "|---" * (1 + len(COLUMNS)) + "|"]
    for row in _rows(path):
        lines.append(f"| {' | '.join([row['row'], *(_shown(row, place) for place in COLUMNS.values())])} |")
    return "\n".join(lines) + "\n"


def _shown(row: Any, place: str) -> str:
    for name in place.split("."):
        row = row.get(name) if isinstance(row, dict) else None
    return "-" if row is None else f"{row:.3g}"


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main() -> None:
    keep_few_kernels()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--output", type=Path, default=Path("ablation.jsonl"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS))
    parser.add_argument("--init-from", metavar="NAME", help="A bundled set that every row goes on from.")
    parser.add_argument("--threads", type=int, default=2)
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
