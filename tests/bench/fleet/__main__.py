"""Simulated fleets as tables: placement of many adapter sets, a loss of replicas, costs, bounds.

python -m tests.bench.fleet [--replicas 10 100 1000] [--exponent 1.0] [--seed 0]
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import astuple, replace

from tests.bench.fleet.measured import Constants
from tests.bench.fleet.plan import cost_of_a_million, replicas_of_one_bucket, replicas_of_one_redis
from tests.bench.fleet.scenario import PLACEMENTS, Figures, Scenario

_EACH = {10: 4000, 100: 1500, 1000: 400}  # requests of each replica, so that all takes seconds
_COLUMNS = ("replicas", "placement", "in memory", "store", "fetches/s", "p50 ms", "p99 ms", "busiest")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, nargs="+", default=list(_EACH))
    parser.add_argument("--sets", type=int, default=100_000)
    parser.add_argument("--exponent", type=float, default=1.0)
    parser.add_argument("--bank-slots", type=int, default=Constants().bank_slots)
    parser.add_argument("--utilisation", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    constants = replace(Constants(), bank_slots=arguments.bank_slots)
    _row(_COLUMNS)
    _row(["---"] * len(_COLUMNS))
    for num_replicas in arguments.replicas:
        scenario = Scenario(
            num_replicas=num_replicas,
            num_sets=arguments.sets,
            exponent=arguments.exponent,
            utilisation=arguments.utilisation,
            requests_each=_EACH.get(num_replicas, 1000),
            seed=arguments.seed,
        )
        for placement in PLACEMENTS:
            before, after = scenario.run(placement, constants)
            _row([num_replicas, placement, *_cells(before)])
            _row(["less a tenth", "", *_cells(after)])
            if placement == list(PLACEMENTS)[-1]:
                _bounds(constants, arguments.utilisation, before, num_replicas)


def _bounds(constants: Constants, utilisation: float, figures: Figures, num_replicas: int) -> None:
    bucket = replicas_of_one_bucket(constants, figures.fetches_per_s, num_replicas)
    sys.stderr.write(
        f"{num_replicas} replicas: one Redis is enough for {replicas_of_one_redis(constants, utilisation):.0f}, one "
        f"bucket for {bucket:.0f}; {figures.fetches_per_s * constants.set_bytes / 1e9:.2f} GB/s from it; a million "
        f"encodes: {cost_of_a_million(constants, utilisation, figures.from_store)}\n"
    )


def _cells(figures: Figures) -> list[str]:
    in_memory, from_store, fetches, p50, p99, balance = astuple(figures)
    return [
        f"{in_memory:.3f}",
        f"{from_store:.3f}",
        f"{fetches:,.0f}",
        f"{p50:,.1f}",
        f"{p99:,.1f}",
        f"{balance:.2f}",
    ]


def _row(cells: Sequence[object]) -> None:
    sys.stdout.write(f"| {' | '.join(map(str, cells))} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
