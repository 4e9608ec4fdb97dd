"""Fits a rectified flow to the encodings of an adapter set's texts: minutes on a CPU, seconds on a GPU.

At every step z is drawn anew from a narrowed posterior, so that the flow learns a region around each mu and not the
training texts themselves. The result is a running average of the trained network.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from adavae.model.latent.flow import FlowConfig, VelocityNetwork, flow_loss
from adavae.model.training.schedule import learning_rate_at

POSTERIOR_SHARE = 0.4  # share of the posterior's standard deviation with which z is drawn
_WARMUP_STEPS, _AVERAGE_SHARE = 100, 0.002


def fit_flow(
    config: FlowConfig,
    mu: Tensor,
    std: Tensor,
    label_ids: Tensor | None,
    *,
    steps: int,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    seed: int = 0,
    on_step: Callable[[int, int, float], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> VelocityNetwork:
    """Trains a velocity network.

    Args:
        config: Shape of the network.
        mu: Standardised means of the texts' posteriors, (N, Z), float32.
        std: Standard deviations of the posteriors, standardised likewise, (N, Z).
        label_ids: (N,), int64, or None.
        steps: Number of updates.
        batch_size: Texts per step, drawn with replacement.
        learning_rate: Peak, followed by a cosine to zero.
        seed: Seed of the initialisation and of every draw.
        on_step: Called with step, steps and loss every hundred steps.
        should_stop: Called at every step; True ends the run early.

    Returns:
        The averaged network, on the device of ``mu``.
    """
    device = mu.device
    generator = torch.Generator(device).manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = VelocityNetwork(config).to(device)
    kept = copy.deepcopy(network).requires_grad_(False)
    if label_ids is None:
        label_ids = torch.full((len(mu),), network.any_label, device=device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.01)
    for step in range(1, steps + 1):
        if should_stop():
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(
                step - 1, steps, peak=learning_rate, warmup=min(_WARMUP_STEPS, steps // 3), kind="cosine"
            )
        rows = torch.randint(len(mu), (batch_size,), generator=generator, device=device)
        noise = torch.randn(batch_size, mu.shape[1], generator=generator, device=device)
        z1 = mu[rows] + POSTERIOR_SHARE * std[rows] * noise
        loss = flow_loss(network, z1, label_ids[rows], generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            kept.averaged(network, max(_AVERAGE_SHARE, 1.0 / step))
        if on_step is not None and (step % 100 == 0 or step == steps):
            on_step(step, steps, float(loss.detach()))
    return kept.eval()
