"""Drawing tokens row by row without sorting, against drawing with a full sort of the vocabulary.

python -m tests.bench.drawing
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.decoding.drawing import draw, draw_side_by_side, uniform

_ROUNDS = 11
_FILTERS: dict[str, dict[str, float]] = {"none": {}, "top_p 0.9": {"top_p": 0.9}, "top_k 40": {"top_k": 40}}


def main() -> None:
    sys.stdout.write("| V | rows | filter | row by row, ms | by a sort, ms | ratio |\n|---|---|---|---|---|---|\n")
    for V in (12_288, 50_257):
        for num_rows in (1, 11, 32):
            logits = 4 * torch.randn(num_rows, V, generator=torch.Generator().manual_seed(0))
            for name, filters in _FILTERS.items():
                ours, sorting = _measured(logits.softmax(-1), filters)
                sys.stdout.write(f"| {V} | {num_rows} | {name} | {ours:.2f} | {sorting:.2f} | {sorting / ours:.1f} |\n")
                sys.stdout.flush()


def _measured(probabilities: Tensor, filters: dict[str, float]) -> tuple[float, float]:
    """Milliseconds of both, measured in turn."""
    num_rows = len(probabilities)
    decodings = [Decoding(strategy=Strategy.SAMPLE, seed=row, **filters) for row in range(num_rows)]  # type: ignore[arg-type]
    numbers = [uniform(decoding.seed, 0) for decoding in decodings]
    ours, sorting = [], []
    for _ in range(_ROUNDS):
        ours.append(_seconds(lambda: draw(probabilities, decodings, [0] * num_rows)))
        sorting.append(_seconds(lambda: draw_side_by_side(probabilities, decodings, numbers)))
    return 1e3 * statistics.median(ours), 1e3 * statistics.median(sorting)


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
