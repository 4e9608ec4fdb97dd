"""Resident memory over many mixed requests, while adapter sets are loaded and evicted.

OMP_WAIT_POLICY=passive python -m tests.bench.memory [--requests 20000]

Tiny random weights, so that what grows would be ours and not torch's buffers: twelve adapter sets in four slots, of
which four are asked for at a time; 200-odd times over the run another one takes the oldest's place.
"""

import argparse
import asyncio
import gc
import json
import random
import sys
import tempfile
from pathlib import Path

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.service.latent_service import LatentService
from adavae.service.log import set_up_log
from adavae.service.metrics import Metrics
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_text import NAMED

NUM_SETS, NUM_WANTED, NUM_SHIFTS = 12, 4, 220
NUM_CLIENTS = 16
PAGE_BYTES = 4096


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * PAGE_BYTES / 2**20, 1)


async def one_request(service: LatentService, draw: random.Random, shift: int) -> None:
    adapter = f"set-{(shift + draw.randrange(NUM_WANTED)) % NUM_SETS}"
    text = f"the pizza was number {draw.randrange(2000)} ."
    decoding = Decoding(max_tokens=6, strategy=draw.choice([Strategy.GREEDY, Strategy.SAMPLE]), seed=draw.randrange(99))
    match draw.randrange(4):
        case 0:
            await service.encode([text, "fine"], adapter=adapter, truncate=False)
        case 1:
            await service.sample(2, adapter=adapter, decoding=decoding)
        case 2:
            await service.analogy("bad", "good", text, scale=1.0, samples=1, adapter=adapter, decoding=decoding)
        case _:
            async for _ in service.sample_stream(1, adapter=adapter, decoding=decoding):
                pass


async def measure(num_requests: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        settings = tiny_settings(home, cache_bytes=2**20, log_level="error")
        set_up_log(settings)
        for number in range(NUM_SETS):
            config = list(NAMED.values())[number % len(NAMED)]
            publish_tiny(settings.own_adapters, settings.weights, f"set-{number}", config, 10 + number)
        service = LatentService(settings, Metrics())
        await service.start()
        left, samples = iter(range(num_requests)), list[float]()

        async def client(number: int) -> None:
            draw = random.Random(number)
            for request in left:
                await one_request(service, draw, request * NUM_SHIFTS // num_requests)
                if request % (num_requests // 10) == num_requests // 10 - 1:
                    gc.collect()
                    samples.append(resident_mib())

        await asyncio.gather(*(client(number) for number in range(NUM_CLIENTS)))
        metrics = service.metrics
        await service.stop()
        return {
            "requests": num_requests,
            "loads": int(metrics.adapter_loads_total._value.get()),
            "evictions": int(metrics.adapter_evictions_total._value.get()),
            "resident_mib_at_each_tenth": samples,
            "growth_of_the_last_half_mib": round(samples[-1] - samples[len(samples) // 2 - 1], 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    sys.stdout.write(json.dumps(asyncio.run(measure(parser.parse_args().requests))) + "\n")


if __name__ == "__main__":
    main()
