"""Time of one training step of an adapter set against the same step of full fine-tuning, interleaved in one run.

python -m tests.bench.training_step [--rounds 7]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from adavae.model.storage.pretrained import load_backbone
from adavae.model.training.config import Preset, preset_config
from adavae.model.training.tokenized_texts import TokenizedTexts
from adavae.model.training.training_run import TrainingRun

BACKBONE = Path(__file__).parents[2] / "weights" / "backbone"
STEPS_A_ROUND = 3


def made_up_texts(num: int, vocab_size: int) -> TokenizedTexts:
    """Random token ids with the lengths of review sentences."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 18, (num,), generator=generator).tolist()
    rows = [torch.randint(1, vocab_size, (length,), generator=generator).tolist() for length in lengths]
    return TokenizedTexts(rows, None, "made up")


def measure(preset: Preset, rounds: int) -> dict[str, object]:
    """Median seconds of both kinds of step, and the median and spread of their ratio."""
    pretrained = load_backbone(BACKBONE)
    config = replace(preset_config(preset, pretrained.backbone.config), stage_one_share=0.0, form_share=0.0)
    texts = made_up_texts(4096, pretrained.backbone.config.vocab_size)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as directory, sdpa_kernel([SDPBackend.MATH]):
        runs = {
            is_full: TrainingRun(
                replace(config, is_full_fine_tuning=is_full), pretrained.backbone, texts, texts, Path(directory)
            )
            for is_full in (False, True)
        }
        for run in runs.values():
            run.take_step()
        for _ in range(rounds):
            for is_full, run in runs.items():
                started = time.perf_counter()
                for _ in range(STEPS_A_ROUND):
                    run.take_step()
                seconds[is_full].append((time.perf_counter() - started) / STEPS_A_ROUND)
    ratios = [adapters / full for adapters, full in zip(seconds[False], seconds[True], strict=True)]
    return {
        "preset": str(preset),
        "rounds": rounds,
        "adapter_step_s": round(statistics.median(seconds[False]), 3),
        "full_step_s": round(statistics.median(seconds[True]), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min_max": [round(min(ratios), 3), round(max(ratios), 3)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    for preset in Preset:
        sys.stdout.write(json.dumps(measure(preset, rounds)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
