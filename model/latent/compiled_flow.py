"""``flow.integrate`` for one network, by compiled code where that is possible."""

from typing import cast

import torch
from torch import Tensor

from adavae.model.kernel.choice import library_for
from adavae.model.kernel.flow_kernel import FlowKernel
from adavae.model.kernel.library import Library
from adavae.model.latent.flow import Block, VelocityNetwork, integrate, time_features


class CompiledFlow:
    """A network whose weights are final, and the code that follows it."""

    def __init__(self, network: VelocityNetwork) -> None:
        self._network = network
        compiled = library_for(network.input.weight)
        self._kernel = None if compiled is None else _packed(network, compiled)
        self._of_time = torch.cat([block.time.weight for block in _blocks_of(network)])  # (depth * width, 64)

    def __reduce__(self) -> tuple[type["CompiledFlow"], tuple[VelocityNetwork]]:
        return CompiledFlow, (self._network,)  # a copy, here or in another process, is packed anew

    @torch.no_grad()
    def integrate(self, z: Tensor, *, start: float, steps: int, label_ids: Tensor, guidance: float = 1.0) -> Tensor:
        """As ``flow.integrate``; compiled, a row's end depends on no other row."""
        network = self._network
        if self._kernel is None:
            return integrate(network, z, start=start, steps=steps, label_ids=label_ids, guidance=guidance)
        times = torch.linspace(start, 1.0, steps + 1)
        moments = (time_features(times) @ self._of_time.T).view(steps + 1, network.config.depth, network.config.width)
        if guidance != 1.0:
            label_ids = torch.cat([label_ids, torch.full_like(label_ids, network.any_label)])
        return self._kernel.integrate(z, times, moments, network.label(label_ids), guidance)


def _packed(network: VelocityNetwork, compiled: Library) -> FlowKernel:
    return FlowKernel(
        compiled,
        into=network.input,
        blocks=[(block.norm, block.up, block.down) for block in _blocks_of(network)],
        norm=network.norm,
        out=network.output,
    )


def _blocks_of(network: VelocityNetwork) -> list[Block]:
    return [cast(Block, block) for block in network.blocks]
