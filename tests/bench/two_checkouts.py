"""The engine of this checkout against that of another one, in one run: ``python -m tests.bench.two_checkouts OTHER``.

Each has its own process, which does the engine's work on demand; the two take turns in short rounds, so that a
disturbance affects both. Processes of the very same code differ too, by a few per cent for as long as they live: so
both are started several times, in turn first. Copies of the same commit differ by up to 4 % by where they lie, so that
a smaller difference is one of code only if it is there between fresh copies of both.

The other checkout is a git worktree that was installed once (``pip install -e``), so that its kernel is compiled and
its packages lie under ``build/editable``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_CHILD = """
import json, sys, time
from adavae.model.config import WeightFormat
from tests.bench.engine_speed import decoded, encoded
from tests.bench.subjects import NUM_SETS, EngineLimits, Subject, running_engine
subject = Subject.of(sys.argv[1], weight_format=WeightFormat(sys.argv[3]))
rows = subject.texts(64)
with running_engine(subject, EngineLimits(threads=int(sys.argv[2]))) as running:
    ways = {
        "decode, 1 row": lambda: decoded(running, subject, [0]),
        "decode, 11 rows": lambda: decoded(running, subject, [0] * 11),
        "decode, 32 rows": lambda: decoded(running, subject, [0] * 32),
        "decode, 8 rows of 8 sets": lambda: decoded(running, subject, range(NUM_SETS)),
        "encode, 64 texts": lambda: encoded(running, rows, [0] * len(rows)),
        "encode, 8 texts of 8 sets": lambda: encoded(running, rows[:NUM_SETS], range(NUM_SETS)),
    }
    print(json.dumps(list(ways)), flush=True)
    for line in sys.stdin:
        way = ways[json.loads(line)]
        started, cpu_started = time.perf_counter(), time.process_time()
        way()
        print(json.dumps([time.perf_counter() - started, time.process_time() - cpu_started]), flush=True)
"""


class Checkout:
    """A checkout's engine, in its own process."""

    def __init__(self, path: Path, shape: str, threads: int, weight_format: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, shape, str(threads), weight_format],
            cwd=path,
            env=os.environ
            | {"PYTHONPATH": str(path.absolute() / "build" / "editable")},  # its own code, not what is installed
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ways: list[str] = json.loads(self._line())

    def seconds(self, way: str) -> tuple[float, float]:
        """Time of one piece of work: on the clock, and of all processors."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(way) + "\n")
        self._process.stdin.flush()
        wall, cpu = json.loads(self._line())
        return float(wall), float(cpu)

    def close(self) -> None:
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def _ratios(ours: Checkout, theirs: Checkout, way: str, rounds: int) -> list[tuple[float, float]]:
    """The other's time over ours, on the clock and of processors, of each round but the first."""
    ratios = []
    for number in range(rounds + 1):
        first, second = (ours, theirs) if number % 2 else (theirs, ours)
        seconds = {first: first.seconds(way), second: second.seconds(way)}
        (wall, cpu), (other_wall, other_cpu) = seconds[ours], seconds[theirs]
        ratios.append((other_wall / wall, other_cpu / cpu))
    return ratios[1:]


def _spread(starts: Sequence[Sequence[float]]) -> str:
    """Median over all rounds, and the least and greatest median of a start."""
    medians = [statistics.median(start) for start in starts]
    overall = statistics.median(each for start in starts for each in start)
    return f"{overall:.3f} (starts {min(medians):.3f} to {max(medians):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path)
    parser.add_argument("--shape", choices=("bundled", "124m"), default="bundled")
    parser.add_argument("--rounds", type=int, default=15, help="For each start; one before these warms up.")
    parser.add_argument("--starts", type=int, default=5, help="Of both processes.")
    parser.add_argument("--threads", type=int, default=2, help="One, where others use the machine too.")
    parser.add_argument("--weight-format", choices=("float16", "int8"), default="float16")
    options = parser.parse_args()
    settings = options.shape, options.threads, options.weight_format
    by_way: dict[str, list[list[tuple[float, float]]]] = {}
    for number in range(options.starts):
        paths = [Path.cwd(), options.other]
        started = [Checkout(path, *settings) for path in (paths if number % 2 else reversed(paths))]
        ours, theirs = started if number % 2 else reversed(started)
        for way in ours.ways:
            by_way.setdefault(way, []).append(_ratios(ours, theirs, way, options.rounds))
        ours.close()
        theirs.close()
    for way, starts in by_way.items():
        walls, cpus = ([[pair[which] for pair in start] for start in starts] for which in (0, 1))
        sys.stdout.write(f"{way:26} speed over the other's: {_spread(walls)}; by processor time {_spread(cpus)}\n")


if __name__ == "__main__":
    main()
