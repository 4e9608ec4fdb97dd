import pytest
import torch

from adavae.model.errors import ConfigError
from adavae.model.latent.flow import FlowConfig, VelocityNetwork, flow_loss, integrate
from adavae.model.training.flow_fitting import fit_flow

NO_LABELS = torch.zeros(6, dtype=torch.int64)


class Straight(VelocityNetwork):
    """Velocities with a known answer: towards +3 for label 0, towards -1 for any."""

    def forward(self, z: torch.Tensor, t: torch.Tensor, label_ids: torch.Tensor) -> torch.Tensor:
        del t
        return torch.where(label_ids == self.any_label, -1.0, 3.0).unsqueeze(1).expand_as(z)


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(1))


def test_a_constant_velocity_is_followed_exactly_from_where_it_starts(noise: torch.Tensor) -> None:
    network = Straight(FlowConfig(latent_size=4, num_labels=1))
    there = integrate(network, noise, start=0.25, steps=3, label_ids=NO_LABELS)
    torch.testing.assert_close(there, noise + 0.75 * 3.0)


def test_guidance_leads_further_than_the_label_alone(noise: torch.Tensor) -> None:
    network = Straight(FlowConfig(latent_size=4, num_labels=1))
    there = integrate(network, noise, start=0.0, steps=2, label_ids=NO_LABELS, guidance=2.0)
    torch.testing.assert_close(there, noise + 7.0)  # -1 + 2 (3 - -1)


def test_an_untrained_network_moves_nothing(noise: torch.Tensor) -> None:
    network = VelocityNetwork(FlowConfig(latent_size=4))
    torch.testing.assert_close(integrate(network, noise, start=0.0, steps=4, label_ids=NO_LABELS), noise)


def test_the_loss_of_a_network_that_says_nothing_is_the_mean_square_of_the_way() -> None:
    network = VelocityNetwork(FlowConfig(latent_size=4))
    z1 = torch.full((4096, 4), 2.0)
    loss = flow_loss(network, z1, torch.zeros(4096, dtype=torch.int64), torch.Generator().manual_seed(0))
    assert float(loss.detach()) == pytest.approx(5.0, abs=0.2)  # E (2 - z0)^2 = 4 + 1


def test_a_fitted_flow_draws_each_label_where_its_texts_lie() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 2
    mu = torch.randn(400, 3, generator=generator) * 0.1 + torch.where(labels == 0, -1.0, 1.0).unsqueeze(1)
    network = fit_flow(
        FlowConfig(latent_size=3, num_labels=2, width=64, depth=2),
        mu,
        torch.full_like(mu, 0.1),
        labels,
        steps=300,
        batch_size=256,
        learning_rate=3e-3,
    )
    start = torch.randn(64, 3, generator=generator)
    for label, centre in ((0, -1.0), (1, 1.0)):
        ids = torch.full((64,), label)
        with torch.no_grad():
            drawn = integrate(network, start, start=0.0, steps=10, label_ids=ids)
        assert float((drawn - centre).abs().mean()) < 0.35


def test_fitting_again_with_the_same_seed_gives_the_same_flow() -> None:
    mu = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
    one, other = (
        fit_flow(FlowConfig(latent_size=3, width=16, depth=1), mu, torch.ones_like(mu), None, steps=5, batch_size=8)
        for _ in range(2)
    )
    for left, right in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_shape_out_of_range_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"flow\.width"):
        FlowConfig(latent_size=4, width=100_000)
