"""The compiled flow over z against the same through PyTorch, and against itself in other company."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from adavae.model.kernel.library import Library
from adavae.model.latent import compiled_flow
from adavae.model.latent.compiled_flow import CompiledFlow
from adavae.model.latent.flow import FlowConfig, VelocityNetwork, integrate
from tests.parity.compiled import RUNS, compiled_for

CONFIGS = {
    "small": FlowConfig(latent_size=8, num_labels=2, width=16, depth=1),
    "no multiple of anything": FlowConfig(latent_size=33, num_labels=3, width=70, depth=3),
    "no labels": FlowConfig(latent_size=5, num_labels=0, width=96, depth=2),
    "wide": FlowConfig(latent_size=128, num_labels=6, width=256, depth=4),
}


@pytest.fixture(params=RUNS)
def compiled(request: pytest.FixtureRequest) -> Library:
    return compiled_for(request.param)


def network_of(config: FlowConfig, *, is_half: bool = True) -> VelocityNetwork:
    """Random weights of the size of trained ones, exact in float16 or not."""
    generator = torch.Generator().manual_seed(config.width)
    network = VelocityNetwork(config).requires_grad_(False).eval()
    for name, parameter in network.named_parameters():
        numbers = torch.randn(parameter.shape, generator=generator) * parameter.shape[-1] ** -0.5
        numbers = numbers + 1.0 if name.endswith("norm.weight") else numbers
        parameter.copy_(numbers.half().float() if is_half else numbers)
    return network


def flow_of(compiled: Library, network: VelocityNetwork, monkeypatch: pytest.MonkeyPatch) -> CompiledFlow:
    monkeypatch.setattr(compiled_flow, "library_for", lambda _: compiled)
    return CompiledFlow(network)


def rows_of(config: FlowConfig, num: int) -> tuple[Tensor, Tensor]:
    """z and labels, some of which are "any"; a row depends on its place alone."""
    z = [torch.randn(config.latent_size, generator=torch.Generator().manual_seed(row)) for row in range(num)]
    return torch.stack(z), torch.arange(num) % (config.num_labels + 1)


@torch.no_grad()
@pytest.mark.parametrize("num_rows", [1, 2, 7, 13])
@pytest.mark.parametrize(("start", "steps", "guidance"), [(0.0, 12, 1.0), (0.7, 4, 1.0), (0.5, 3, 2.5)])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_rows_end_where_pytorch_leads_them(
    compiled: Library,
    monkeypatch: pytest.MonkeyPatch,
    config: FlowConfig,
    start: float,
    steps: int,
    guidance: float,
    num_rows: int,
) -> None:
    network, (z, labels) = network_of(config), rows_of(config, num_rows)
    flow, before = flow_of(compiled, network, monkeypatch), z.clone()
    got = flow.integrate(z, start=start, steps=steps, label_ids=labels, guidance=guidance)
    expected = integrate(network, z, start=start, steps=steps, label_ids=labels, guidance=guidance)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=2e-5)
    assert (got - z).abs().max() > 0.1  # or it would say nothing
    assert torch.equal(z, before)


@torch.no_grad()
@pytest.mark.parametrize(("num_rows", "guidance"), [(70, 1.0), (50, 2.0)])
def test_many_rows_are_led_as_few_are(
    compiled: Library, monkeypatch: pytest.MonkeyPatch, num_rows: int, guidance: float
) -> None:
    """More than 64 rows are computed in other chunks, more than 96 multiplied in two."""
    config = CONFIGS["no multiple of anything"]
    network, (z, labels) = network_of(config), rows_of(config, num_rows)
    flow = flow_of(compiled, network, monkeypatch)
    got = flow.integrate(z, start=0.1, steps=3, label_ids=labels, guidance=guidance)
    expected = integrate(network, z, start=0.1, steps=3, label_ids=labels, guidance=guidance)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=2e-5)
    few = [num_rows - 1, 3, 0]
    assert torch.equal(got[few], flow.integrate(z[few], start=0.1, steps=3, label_ids=labels[few], guidance=guidance))


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_row_ends_in_the_same_place_in_any_company(
    compiled: Library, monkeypatch: pytest.MonkeyPatch, guidance: float
) -> None:
    config = CONFIGS["no multiple of anything"]
    flow, (z, labels) = flow_of(compiled, network_of(config), monkeypatch), rows_of(config, 15)
    together = flow.integrate(z, start=0.2, steps=5, label_ids=labels, guidance=guidance)
    for some in ([0], [14, 3], list(range(7)), list(range(14, -1, -1))):
        alone = flow.integrate(z[some], start=0.2, steps=5, label_ids=labels[some], guidance=guidance)
        assert torch.equal(alone, together[some])


@torch.no_grad()
def test_weights_that_are_not_exact_in_float16_stay_as_they_are(
    compiled: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIGS["wide"]
    network, (z, labels) = network_of(config, is_half=False), rows_of(config, 3)
    got = flow_of(compiled, network, monkeypatch).integrate(z, start=0.0, steps=12, label_ids=labels)
    expected = integrate(network, z, start=0.0, steps=12, label_ids=labels)
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=2e-5)


def test_no_rows_end_nowhere(compiled: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["small"]
    flow = flow_of(compiled, network_of(config), monkeypatch)
    none = torch.zeros(0, config.latent_size)
    assert flow.integrate(none, start=0.0, steps=2, label_ids=torch.zeros(0, dtype=torch.int64)).shape == none.shape


def test_what_is_not_finite_stays_in_its_row(compiled: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["wide"]
    flow, (z, labels) = flow_of(compiled, network_of(config), monkeypatch), rows_of(config, 3)
    expected = flow.integrate(z, start=0.0, steps=4, label_ids=labels)
    z[1, 5] = float("nan")
    got = flow.integrate(z, start=0.0, steps=4, label_ids=labels)
    assert torch.equal(got[[0, 2]], expected[[0, 2]])
    assert not got[1].isfinite().any()


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda flow: pickle.loads(pickle.dumps(flow))], ids=["copy", "pickle"]
)
def test_a_copy_leads_rows_to_the_same_places(copied: Callable[[CompiledFlow], CompiledFlow]) -> None:
    config = CONFIGS["small"]
    flow, (z, labels) = CompiledFlow(network_of(config)), rows_of(config, 3)
    ends = [one.integrate(z, start=0.0, steps=3, label_ids=labels) for one in (flow, copied(flow))]
    assert torch.equal(*ends)


@torch.no_grad()
def test_without_compiled_code_pytorch_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    config = CONFIGS["small"]
    monkeypatch.setattr(compiled_flow, "library_for", lambda _: None)
    network, (z, labels) = network_of(config), rows_of(config, 4)
    got = CompiledFlow(network).integrate(z, start=0.3, steps=3, label_ids=labels, guidance=1.5)
    assert torch.equal(got, integrate(network, z, start=0.3, steps=3, label_ids=labels, guidance=1.5))
