"""Leading z along the flow by compiled code and by PyTorch, same threads: ``python -m tests.bench.flow_speed``.

The network has the shape of the one of `yelp`, and random weights.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from adavae.model.latent.compiled_flow import CompiledFlow
from adavae.model.latent.flow import FlowConfig, VelocityNetwork, integrate
from adavae.model.latent.prior import DRAW_STEPS, REFINE_STEPS

_ROUNDS = 11
_ASKED = {  # from when, steps, guidance
    "draw": (0.0, DRAW_STEPS, 1.0),
    "refine": (0.7, REFINE_STEPS, 1.0),
    "draw with a label, guided": (0.5, DRAW_STEPS, 2.0),
}


@torch.no_grad()
def main() -> None:
    network = _network()
    flow = CompiledFlow(network)
    sys.stdout.write("| what | z | compiled, ms | PyTorch, ms | ratio |\n|---|---|---|---|---|\n")
    for name, (start, steps, guidance) in _ASKED.items():
        for num in (1, 2, 8, 32, 64):
            z = torch.randn(num, network.config.latent_size, generator=torch.Generator().manual_seed(num))
            asked: dict[str, Any] = {"start": start, "steps": steps, "guidance": guidance}
            asked["label_ids"] = torch.zeros(num, dtype=torch.int64)
            ours, pytorch = partial(flow.integrate, z, **asked), partial(integrate, network, z, **asked)
            rounds = [(_seconds(ours), _seconds(pytorch)) for _ in range(_ROUNDS + 1)][1:]
            one, other = (1000 * statistics.median(way) for way in zip(*rounds, strict=True))
            ratios = sorted(theirs / mine for mine, theirs in rounds)
            spread = f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
            sys.stdout.write(f"| {name} | {num} | {one:.2f} | {other:.2f} | {spread} |\n")
            sys.stdout.flush()


def _network() -> VelocityNetwork:
    generator = torch.Generator().manual_seed(0)
    network = VelocityNetwork(FlowConfig(latent_size=256, num_labels=2, width=448)).requires_grad_(False).eval()
    for parameter in network.parameters():
        parameter.copy_((torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5).half())
    return network


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
