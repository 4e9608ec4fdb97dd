"""Training steps a second with one process and with several, each with its share of the same threads.

python -m tests.bench.training_processes [--nproc 1 2] [--steps 40] [--batch-size 64]
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from adavae.model.storage.pretrained import load_backbone
from adavae.model.training.config import Preset, preset_config
from adavae.model.training.loop import train
from adavae.model.training.progress import Progress
from tests.bench.training_speed import BACKBONE, made_up_texts

_WARM = 3  # steps that are not counted


def measure(num_processes: int, steps: int, batch_size: int) -> dict[str, object]:
    """Steps a second once all processes are warm, and the loss of the last step."""
    pretrained = load_backbone(BACKBONE)
    preset = preset_config(Preset.GENERATION, pretrained.backbone.config)
    options = {"epochs": 100.0, "max_steps": steps, "batch_size": batch_size, "validations": 1}
    config = replace(preset.with_options(options), form_share=0.0, stage_one_share=0.0, checkpoint_every=steps)
    vocab_size = pretrained.backbone.config.vocab_size
    ends: list[float] = []
    told: list[Progress] = []

    def before_every_step() -> bool:
        ends.append(time.perf_counter())
        return False

    with tempfile.TemporaryDirectory() as directory:
        train(
            config,
            pretrained,
            made_up_texts(4096, vocab_size),
            made_up_texts(8, vocab_size),
            Path(directory),
            on_progress=told.append,
            should_stop=before_every_step,
            num_processes=num_processes,
        )
    seconds = (ends[-1] - ends[_WARM]) / (len(ends) - 1 - _WARM)
    return {
        "processes": num_processes,
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        "steps_per_s": round(1 / seconds, 2),
        "loss": round(told[-1].loss, 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nproc", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    arguments = parser.parse_args()
    for num_processes in arguments.nproc:
        sys.stdout.write(json.dumps(measure(num_processes, arguments.steps, arguments.batch_size)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
