"""Leading z along the flow by compiled code and by PyTorch, same threads: ``python -m tests.bench.flow_speed``.

The network has the shape of the one of `yelp`, and random weights.
"""

import statistics
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from adavae.model.latent.compiled_flow import CompiledFlow
from adavae.model.latent.flow import FlowConfig, VelocityNetwork, integrate
from adavae.model.latent.prior import DRAW_STEPS, REFINE_STEPS
from tests.bench.side_by_side import Way, compared, rates

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
            ways: dict[str, Way] = {
                "compiled": partial(_count, partial(flow.integrate, z, **asked)),
                "pytorch": partial(_count, partial(integrate, network, z, **asked)),
            }
            measured = rates(ways, _ROUNDS)
            ours, theirs = (1000 * num / statistics.median(each) for each in measured.values())
            ratio = compared(name, measured, "compiled", "pytorch")
            spread = f"{ratio.value:.1f} ({ratio.low:.1f} to {ratio.high:.1f})"
            sys.stdout.write(f"| {name} | {num} | {ours:.2f} | {theirs:.2f} | {spread} |\n")
            sys.stdout.flush()


def _network() -> VelocityNetwork:
    generator = torch.Generator().manual_seed(0)
    network = VelocityNetwork(FlowConfig(latent_size=256, num_labels=2, width=448)).requires_grad_(False).eval()
    for parameter in network.parameters():
        parameter.copy_((torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5).half())
    return network


def _count(run: Callable[[], Tensor]) -> int:
    return len(run())


if __name__ == "__main__":
    main()
