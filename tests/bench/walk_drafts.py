"""Whether walks would be faster with neighbours' sentences as drafts (speculative decoding, Leviathan et al. 2023).

    python -m tests.bench.walk_drafts FILE [--adapter yelp] [--walks 100]

Neighbours on a walk share many tokens. So ends could be decoded first, then the middle, the quarters and so on, each
checked against the sentence of its nearest known neighbour: a run of equal tokens costs one step of as many rows,
every other token a step of its own, and greedy decoding stays equal bit for bit. Against that stands what the engine
does, all eleven rows in one batch, one step a token.

This counts both ways on real walks between random pairs of FILE's texts, with the time of a step of n rows as measured
here. It is kind to drafts: a check of n tokens costs no more than a step of n rows, a draft that was left is found
again without a search, and it costs nothing to make its keys and values over again. Writes one JSON object.
"""

import argparse
import json
import statistics
import sys
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import torch

from adavae.model.decoding.decoding import Decoding
from adavae.model.storage.adapter_store import AdapterStore
from adavae.model.storage.pretrained import load_backbone
from adavae.model.training.corpus import read_dataset
from adavae.model.training.walks import STEPS, draw_pairs
from tests.bench.subjects import BUNDLED, DEADLINE_S, RunningEngine, Subject, running_engine

Tokens = tuple[int, ...]
GREEDY = Decoding(max_tokens=48)
TIMED_ROWS = (1, 2, 3, 4, 6, 8, 11, 16, 24, 32)
_SHORT, _LONG, _ROUNDS = 8, 32, 7


def levels(first: int, last: int) -> list[list[tuple[int, int, int]]]:
    """Inner points by halving: (point, its nearest known neighbours), those of one level at once."""
    found: list[list[tuple[int, int, int]]] = []
    spans = [(first, last)]
    while spans:
        spans = [(left, right) for left, right in spans if right - left > 1]
        level = [((left + right) // 2, left, right) for left, right in spans]
        if level:
            found.append(level)
        spans = [half for middle, left, right in level for half in ((left, middle), (middle, right))]
    return found


def plain_ms(walk: Sequence[Tokens], step_ms: Mapping[int, float]) -> float:
    """All rows at once; a row leaves with its end-of-text."""
    lengths = [len(row) + 1 for row in walk]
    return sum(time_of(sum(length > step for length in lengths), step_ms) for step in range(max(lengths, default=0)))


def drafted_ms(walk: Sequence[Tokens], step_ms: Mapping[int, float]) -> float:
    """The ends, then level after level with the better of two neighbours as the draft."""
    total = plain_ms([walk[0], walk[-1]], step_ms)
    for level in levels(0, len(walk) - 1):
        rows = [min((pieces(walk[place], walk[near]) for near in neighbours), key=len) for place, *neighbours in level]
        for turn in range(max(map(len, rows))):
            total += time_of(sum(row[turn] for row in rows if len(row) > turn), step_ms)
    return total


def pieces(text: Tokens, draft: Tokens) -> list[int]:
    """How many tokens each step of a row goes through: runs that its draft has are one step, others one token each."""
    blocks = SequenceMatcher(None, draft, text, autojunk=False).get_matching_blocks()
    steps, place = list[int](), 0
    for block in blocks:
        steps += [1] * (block.b - place)
        if block.size:
            steps.append(block.size)
        place = block.b + block.size
    return [*steps, 1]  # end-of-text


def time_of(rows: int, step_ms: Mapping[int, float]) -> float:
    """Milliseconds of a step, between the measured sizes and past the largest on straight lines."""
    sizes = sorted(step_ms)
    place = min(max(1, bisect_left(sizes, rows)), len(sizes) - 1)
    low, high = sizes[place - 1], sizes[place]
    slope = (step_ms[high] - step_ms[low]) / (high - low)
    return step_ms[low] + slope * (rows - low)


def measured_steps(running: RunningEngine, latent_size: int) -> dict[int, float]:
    """Milliseconds of a decode step of so many rows, without what a request costs besides; medians of rounds."""
    generator = np.random.default_rng(0)
    latents = {rows: generator.standard_normal((rows, latent_size), dtype=np.float32) for rows in TIMED_ROWS}
    taken: dict[int, list[float]] = {rows: [] for rows in TIMED_ROWS}
    for turn in range(_ROUNDS + 1):
        for rows, z in latents.items():
            spent = []
            for length in (_SHORT, _LONG):
                decoding = replace(GREEDY, max_tokens=length, min_tokens=length)
                began = time.perf_counter()
                running.run(running.engine.decode(z, 0, [decoding] * rows, deadline_s=DEADLINE_S))
                spent.append(time.perf_counter() - began)
            if turn:  # the first warms up
                taken[rows].append(1000 * (spent[1] - spent[0]) / (_LONG - _SHORT))
    return {rows: statistics.median(times) for rows, times in taken.items()}


def main() -> None:
    """Prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--adapter", default="yelp")
    parser.add_argument("--walks", type=int, default=100)
    arguments = parser.parse_args()
    adapter_set = AdapterStore(BUNDLED.parent / "adapters").read(arguments.adapter)
    subject = Subject("bundled", load_backbone(BUNDLED), [adapter_set])
    pairs = draw_pairs(read_dataset(arguments.file).texts, arguments.walks, seed=0)
    first, last = (subject.text_model.encode(ends, "set-0", truncate=True).mu for ends in zip(*pairs, strict=True))
    with running_engine(subject) as running:
        step_ms = measured_steps(running, first.shape[1])
        plain, ends, drafted, shared = list[float](), list[float](), list[float](), list[float]()
        for start, end in zip(first, last, strict=True):
            z = torch.lerp(start, end, torch.linspace(0, 1, STEPS).unsqueeze(1))
            rows = running.run(running.engine.decode(z.numpy(), 0, [GREEDY] * STEPS, deadline_s=DEADLINE_S))
            walk = [tuple(row.token_ids) for row in rows]
            plain.append(plain_ms(walk, step_ms))
            ends.append(plain_ms([walk[0], walk[-1]], step_ms))
            drafted.append(drafted_ms(walk, step_ms))
            near = (
                min(len(pieces(walk[place], walk[near])) for near in neighbours) / (len(walk[place]) + 1)
                for level in levels(0, STEPS - 1)
                for place, *neighbours in level
            )
            shared.append(statistics.mean(near))
    figures = {
        "threads": torch.get_num_threads(),
        "step_ms": {rows: round(each, 3) for rows, each in step_ms.items()},
        "steps_left_with_a_draft": round(statistics.mean(shared), 3),
        "plain_ms": round(statistics.mean(plain), 2),
        "ends_alone_ms": round(statistics.mean(ends), 2),
        "drafted_ms": round(statistics.mean(drafted), 2),
        "plain_over_drafted": round(sum(plain) / sum(drafted), 3),
        "walks_faster_with_drafts": round(statistics.mean(b < a for a, b in zip(plain, drafted, strict=True)), 3),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
