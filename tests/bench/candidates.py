"""The cost of each option relative to the plain request, at one server in this process: ratios of medians in one run.

``python -m tests.bench.candidates [--adapter NAME] [--rounds N]``: rounds of all requests in turn, so that whatever
else the machine does meets them alike.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from adavae.model.config import Interpolation
from adavae.model.decoding.decoding import Decoding
from adavae.model.latent.steering import Steering
from adavae.service.latent_service import LatentService
from adavae.service.metrics import Metrics
from adavae.service.settings import load_settings

A, B, C = "the food was terrible.", "the food was delicious.", "the staff was rude and the room was dirty."
Request = Callable[[], Awaitable[object]]


def requests(service: LatentService, adapter: str) -> dict[str, Request]:
    """The plain request of an operation, then those compared with it."""
    greedy = Decoding()
    names = {"adapter": adapter, "decoding": greedy}

    def walk(**options: object) -> Request:
        steering = Steering(**options)  # type: ignore[arg-type]
        return lambda: service.interpolate(A, B, steps=11, method=Interpolation.LINEAR, steering=steering, **names)  # type: ignore[arg-type]

    def analogy(**options: object) -> Request:
        steering = Steering(**options)  # type: ignore[arg-type]
        return lambda: service.analogy(A, B, C, scale=1.0, samples=1, steering=steering, **names)  # type: ignore[arg-type]

    async def nine() -> None:
        await asyncio.gather(*(analogy(candidates=1, refine=0.0)() for _ in range(9)))

    async def nine_in_turn() -> None:
        for _ in range(9):
            await analogy(candidates=1, refine=0.0)()

    return {
        "walk": walk(refine=0.0, truncation=0.0, candidates=1),
        "walk, at defaults": walk(),
        "walk, truncation 0.6": walk(refine=0.0, truncation=0.6, candidates=1),
        "walk, refine 0.3": walk(refine=0.3, truncation=0.0, candidates=1),
        "analogy": analogy(refine=0.0, candidates=1),
        "analogy, at defaults": analogy(),
        "analogy, 9 candidates": analogy(refine=0.0, candidates=9),
        "9 analogies at once": nine,
        "9 analogies in turn": nine_in_turn,
    }


async def measured(adapter: str, num_rounds: int) -> dict[str, float]:
    """Median milliseconds of each request."""
    service = LatentService(load_settings(), Metrics())
    await service.start()
    try:
        async with service._pinned(adapter) as pinned:
            can_refine = pinned.space.prior is not None
        asked = {name: ask for name, ask in requests(service, adapter).items() if can_refine or "refine" not in name}
        times: dict[str, list[float]] = {name: [] for name in asked}
        for turn in range(num_rounds + 1):
            for name, ask in asked.items():
                began = time.perf_counter()
                await ask()
                if turn:  # the first round warms up
                    times[name].append(1000 * (time.perf_counter() - began))
        return {name: statistics.median(milliseconds) for name, milliseconds in times.items()}
    finally:
        await service.stop()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", default="yelp")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    medians = asyncio.run(measured(options.adapter, options.rounds))
    for name, median_ms in medians.items():
        plain = medians["walk" if name.startswith("walk") else "analogy"]
        sys.stdout.write(f"| {name} | {median_ms:.1f} ms | {median_ms / plain:.2f} |\n")


if __name__ == "__main__":
    main()
