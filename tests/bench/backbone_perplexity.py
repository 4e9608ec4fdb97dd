"""Held-out perplexity of a backbone as a plain language model, per token and per whitespace word.

python -m tests.bench.backbone_perplexity BACKBONE FILE [FILE ...] [--limit 1000]
"""

import argparse
import json
import sys
from pathlib import Path

from adavae.model.storage.pretrained import load_backbone
from adavae.model.training.corpus import read_dataset
from adavae.model.training.language_model import held_out_perplexity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbone")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--limit", type=int, default=1000)
    arguments = parser.parse_args()
    pretrained = load_backbone(arguments.backbone)
    for path in arguments.files:
        perplexity = held_out_perplexity(pretrained, read_dataset(path, limit=arguments.limit).texts)
        figures = {"per_token": round(perplexity.per_token, 1), "per_word": round(perplexity.per_word, 1)}
        sys.stdout.write(json.dumps({"file": str(path), "texts": perplexity.num_texts, **figures}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
