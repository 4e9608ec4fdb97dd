"""Some hundreds of hostile and unlucky things, drawn by chance, on a real service: what held, and what did not.

    python -m tests.bench.abuse --table                              # every kind, some ten minutes
    python -m tests.bench.abuse --kind texts --tries 20 --seed 3     # a slice

Held means: refused in words or served rightly, no answer 5xx but the documented 503, no traceback in the log, ordinary
requests right and readiness true afterwards, bounded memory and log. Exit code 1 where something did not hold.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench.abuse.kinds import KINDS
from tests.bench.abuse.running import KindOutcome, run_kind
from tests.bench.abuse.table import table
from tests.integration.redis_server import RedisServer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=KINDS, help="one kind, several times for several; else all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tries", type=int, help="of each kind; as many as a whole run has if left out")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="everything that was found")
    parser.add_argument("--table", action="store_true", help="a table at the end, beside one JSON object a kind")
    chosen = parser.parse_args()
    outcomes = run(chosen.kind or list(KINDS), seed=chosen.seed, num_tries=chosen.tries)
    found = [outcome.to_dict() for outcome in outcomes]
    if chosen.output is not None:
        chosen.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if chosen.table:
        sys.stdout.write(table(found) + "\n")
    sys.exit(1 if any(outcome.broken for outcome in outcomes) else 0)


def run(names: list[str], *, seed: int, num_tries: int | None) -> list[KindOutcome]:
    """The kinds of these names, in turn; each is told on standard output as it is done."""
    binary = shutil.which("redis-server")
    if binary is None:
        sys.exit("redis-server is not installed (Debian: apt-get install redis-server)")
    outcomes = []
    for name in names:
        kind = KINDS[name]
        with tempfile.TemporaryDirectory(prefix="redis-") as directory, contextlib.ExitStack() as ending:
            redis = RedisServer(binary, Path(directory))
            ending.callback(redis.kill)
            redis.start()
            outcomes.append(run_kind(kind, redis, seed=seed, num_tries=num_tries or kind.num_tries))
        sys.stdout.write(json.dumps(outcomes[-1].to_dict()) + "\n")
        sys.stdout.flush()
    return outcomes


if __name__ == "__main__":
    main()
