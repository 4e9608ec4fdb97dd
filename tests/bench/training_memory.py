"""Peak resident memory of ``adavae train``, including its measures, as counted by the system.

python -m tests.bench.training_memory FILE [--rows 8000] [--steps 200] [--preset generation]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from adavae.model.training.config import Preset


def measure(data: Path, rows: int, steps: int, preset: str) -> dict[str, object]:
    """One run in a separate process; its set is discarded."""
    command = [sys.executable, "-m", "service", "train", str(data), "--name", "memory", "--preset", preset]
    command += ["--limit", str(rows), "--max-steps", str(steps), "--truncate"]
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        done = subprocess.run(
            command, env={**os.environ, "ADAVAE_DATA": directory}, check=False, capture_output=True, text=True
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return {
        "data": f"{data.parent.name}/{data.name}",
        "rows": rows,
        "steps": steps,
        "preset": preset,
        "peak_gib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2),
        "seconds": round(time.perf_counter() - started),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--preset", choices=list(map(str, Preset)), default="generation")
    arguments = parser.parse_args()
    figures = measure(arguments.data, arguments.rows, arguments.steps, arguments.preset)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
