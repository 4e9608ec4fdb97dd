"""What int8 weights change: ``python -m tests.bench.weight_formats yelp=valid.tsv trec=test.tsv ...``.

Each bundled set on texts of its own, by the compiled code with float16 weights and with int8: logits on the same
tokens, greedy texts from the same z, and BLEU-4 and the head's accuracy end to end. Writes a Markdown table; the last
column but one is the largest change of a figure in points.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from adavae.model.config import WeightFormat
from adavae.model.decoding.decoding import Decoding
from adavae.model.text_model import TextModel
from adavae.model.training import measures
from adavae.model.training.corpus import Dataset, drawn_rows, read_dataset
from adavae.service.loading import load_pretrained, open_store
from adavae.service.settings import load_settings

_ROWS = 64  # at once
_MOST_TOKENS = 64  # of a text
_LOGIT_STEPS = 16
_MOST_CHANGE = 0.2  # points of BLEU-4 or accuracy that int8 may cost to be the default


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one format makes of a set's texts.

    Attributes:
        mu: (N, Z).
        texts: Greedy decode(mu).
        of_same_z: Greedy decode of the mu that float16 has.
        logits: On the tokens of float16's texts, (rows, steps, V).
        predicted: The head's labels; none without a head.
    """

    mu: Tensor
    texts: list[str]
    of_same_z: list[str]
    logits: Tensor
    predicted: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+", metavar="SET=FILE", help="A set, and texts with labels to measure it on.")
    parser.add_argument("--rows", type=int, default=1000, help="Texts of each file that are decoded, drawn.")
    chosen = parser.parse_args()
    sys.stdout.write(
        "| set | texts | error of logits, of their deviation | same next token | same greedy text of the same z "
        "| BLEU-4, float16, int8 | accuracy, float16, int8 | moved | |\n|---|---|---|---|---|---|---|---|---|\n"
    )
    for pair in chosen.data:
        name, _, file = pair.partition("=")
        sys.stdout.write(_line(name, read_dataset(Path(file)), chosen.rows) + "\n")
        sys.stdout.flush()


def _line(name: str, dataset: Dataset, num_rows: int) -> str:
    rows = drawn_rows(len(dataset.texts), num_rows, 0)
    texts = [dataset.texts[row] for row in rows]
    float16 = _outcome(WeightFormat.FLOAT16, name, dataset.texts, rows)
    int8 = _outcome(WeightFormat.INT8, name, dataset.texts, rows, float16)
    change = int8.logits - float16.logits
    error = float(change.square().mean().sqrt() / float16.logits.std())
    same_token = float((int8.logits.argmax(-1) == float16.logits.argmax(-1)).float().mean())
    bleu = [measures.bleu4(outcome.texts, texts) for outcome in (float16, int8)]
    moved = [abs(bleu[1] - bleu[0])]
    head = "no head"
    if float16.predicted and dataset.labels is not None:
        shares = [100 * measures.accuracy(outcome.predicted, dataset.labels) for outcome in (float16, int8)]
        moved.append(abs(shares[1] - shares[0]))
        head = f"{shares[0]:.2f} %, {shares[1]:.2f} %"
    return (
        f"| `{name}` | {len(texts)} | {100 * error:.2f} % | {100 * same_token:.2f} % "
        f"| {100 * measures.accuracy(int8.of_same_z, float16.texts):.1f} % | {bleu[0]:.2f}, {bleu[1]:.2f} | {head} "
        f"| {max(moved):.2f} | {'within' if round(max(moved), 6) <= _MOST_CHANGE else 'more than'} {_MOST_CHANGE} |"
    )


@torch.inference_mode()
def _outcome(
    weight_format: WeightFormat, name: str, texts: Sequence[str], rows: list[int], before: Outcome | None = None
) -> Outcome:
    settings = load_settings()
    pretrained = load_pretrained(settings, "cpu", weight_format=weight_format)
    assert pretrained.backbone.weight_format is weight_format, "this machine does not multiply bytes: see the log"
    text_model = TextModel.load(pretrained, open_store(settings), [name])
    mu = text_model.encode(texts, name, truncate=True).mu
    chosen = mu[rows]
    same_z, same_texts = (chosen, None) if before is None else (before.mu[rows], before.texts)
    written = _decoded(text_model, name, chosen)
    return Outcome(
        mu=mu,
        texts=written,
        of_same_z=written if before is None else _decoded(text_model, name, same_z),
        logits=_logits(text_model, name, same_z[:_ROWS], (same_texts or written)[:_ROWS]),
        predicted=_predicted(text_model, name, mu),
    )


def _decoded(text_model: TextModel, name: str, z: Tensor) -> list[str]:
    decoding = Decoding(max_tokens=_MOST_TOKENS)
    parts = (text_model.decode(z[start : start + _ROWS], name, decoding) for start in range(0, len(z), _ROWS))
    return [row.text for part in parts for row in part]


def _predicted(text_model: TextModel, name: str, mu: Tensor) -> list[str]:
    if not text_model.config_of(name).labels:
        return []
    return [verdict.label for verdict in text_model.classify_latents(mu, name)]


def _logits(text_model: TextModel, name: str, z: Tensor, texts: Sequence[str]) -> Tensor:
    """Of the first tokens of ``texts``, each row reading its own; texts that end sooner go on with end-of-text."""
    vae, index = text_model.vae, text_model.index_of(name, len(z))
    tokens = torch.full((len(z), _LOGIT_STEPS), text_model.tokenizer.eos_token_id)
    for row, text in enumerate(texts):
        known = torch.tensor(text_model.tokenizer.encode_many([text])[0][:_LOGIT_STEPS], dtype=torch.int64)
        tokens[row, : len(known)] = known
    logits, kv_cache = vae.prefill(vae.widened(z), index, _LOGIT_STEPS + 1)
    steps = [logits]
    for t in range(_LOGIT_STEPS - 1):
        steps.append(vae.decode_step(tokens[:, t].contiguous(), kv_cache, index))
    return torch.stack(steps, 1)


if __name__ == "__main__":
    main()
