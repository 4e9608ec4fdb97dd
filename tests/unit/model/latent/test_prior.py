from dataclasses import replace

import pytest
import torch

from adavae.model.errors import ConfigError
from adavae.model.latent.prior import LatentPrior, walk_bump
from adavae.model.training.prior_fitting import FlowSize, fit_prior

Z = 4


def encodings(num: int = 600) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """mu around -1 for label 0 and around +1 for label 1."""
    labels = torch.arange(num) % 2
    centre = torch.where(labels == 0, -1.0, 1.0).unsqueeze(1)
    mu = centre + 0.3 * torch.randn(num, Z, generator=torch.Generator().manual_seed(0))
    return mu, torch.full((num, Z), -4.0), labels.tolist()


@pytest.fixture(scope="module")
def gaussian() -> LatentPrior:
    return fit_prior(*encodings(), num_labels=2, flow_steps=0)


@pytest.fixture(scope="module")
def with_flow() -> LatentPrior:
    return fit_prior(*encodings(), num_labels=2, flow_steps=40)


def test_moments_are_those_of_the_encodings(gaussian: LatentPrior) -> None:
    mu, logvar, _ = encodings()
    torch.testing.assert_close(gaussian.mean, mu.mean(0))
    torch.testing.assert_close(gaussian.std, mu.std(0, unbiased=False))
    torch.testing.assert_close(gaussian.posterior_variance, logvar.exp().mean(0))
    torch.testing.assert_close(gaussian.label_direction(0, 1), mu[1::2].mean(0) - mu[::2].mean(0))


def test_distance_is_that_under_the_aggregated_posterior(gaussian: LatentPrior) -> None:
    mu, logvar, _ = encodings()
    centred = (mu - mu.mean(0)).double()
    covariance = centred.T @ centred / len(mu) + torch.diag(logvar.exp().mean(0).double())
    z = torch.randn(5, Z, generator=torch.Generator().manual_seed(3))
    offset = (z - gaussian.mean).double()
    expected = torch.einsum("ni,ij,nj->n", offset, torch.linalg.inv(covariance), offset).sqrt()
    torch.testing.assert_close(gaussian.distance(z).double(), expected, rtol=1e-4, atol=1e-4)


def test_typicality_is_evenly_spread_over_the_texts_themselves_and_zero_far_away(gaussian: LatentPrior) -> None:
    typicality = gaussian.typicality(encodings()[0])
    assert float(typicality.mean()) == pytest.approx(0.5, abs=0.06)  # they are a little nearer than new ones
    assert float(gaussian.typicality(torch.full((1, Z), 50.0))) == 0.0
    assert float(gaussian.typicality(gaussian.mean.unsqueeze(0))) > 0.99


@pytest.mark.parametrize("which", ["gaussian", "with_flow"])
def test_draws_depend_on_their_seed_alone(which: str, request: pytest.FixtureRequest) -> None:
    prior: LatentPrior = request.getfixturevalue(which)
    assert torch.equal(prior.draw(3, 7), prior.draw(3, 7))
    assert not torch.equal(prior.draw(3, 7), prior.draw(3, 8))
    torch.testing.assert_close(prior.draw(5, 7)[:3], prior.draw(3, 7), atol=1e-5, rtol=1e-5)


def test_a_gaussian_without_flow_draws_at_the_label(gaussian: LatentPrior) -> None:
    for label, centre in ((0, -1.0), (1, 1.0)):
        assert float(gaussian.draw(200, 0, label=label).mean()) == pytest.approx(centre, abs=0.1)


def test_a_flow_that_knows_little_of_labels_draws_at_the_label_all_the_same() -> None:
    """Regression: after few steps it drew texts of all labels, whichever was asked for."""
    barely = fit_prior(*encodings(), num_labels=2, flow_steps=1)
    for label, side in ((0, -0.5), (1, 0.5)):
        sides = barely.label_side(barely.draw(200, 0, label=label), 0, 1)
        assert float((sides.sign() == torch.sign(torch.tensor(side))).float().mean()) > 0.95


@pytest.mark.parametrize(("num", "Z"), [(60, 64), (300, 64), (3000, 64)])
def test_new_texts_are_as_typical_as_those_that_were_fitted(num: int, Z: int) -> None:
    """Regression: of few texts nearly every new one was farther out than any that had been fitted."""
    generator = torch.Generator().manual_seed(0)
    mu = torch.randn(num + 500, Z, generator=generator)
    prior = fit_prior(mu[:num], torch.full((num, Z), -0.7), None, num_labels=0, flow_steps=0)
    typicality = prior.typicality(mu[num:])
    assert float(typicality.mean()) == pytest.approx(0.5, abs=0.15)
    assert float((typicality == 0.0).float().mean()) < 0.1


def test_a_gaussian_without_flow_draws_texts_of_any_label_as_widely_as_they_lie(gaussian: LatentPrior) -> None:
    """It drew them half-way between the labels, as closely together as the texts of one label lie."""
    z, (mu, _, _) = gaussian.draw(4000, 0), encodings()
    torch.testing.assert_close(z.mean(0), mu.mean(0), atol=0.05, rtol=0.0)
    torch.testing.assert_close(torch.cov(z.T), torch.cov(mu.T), atol=0.1, rtol=0.0)


def test_truncation_leads_to_the_mean(with_flow: LatentPrior) -> None:
    whole, half, none = (with_flow.draw(4, 1, truncation=share) for share in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half, (whole + with_flow.mean) / 2)
    torch.testing.assert_close(none, with_flow.mean.expand(4, -1))


def test_refining_by_nothing_changes_nothing(with_flow: LatentPrior) -> None:
    z = torch.randn(3, Z)
    assert torch.equal(with_flow.refine(z, 0.0), z)
    assert not torch.equal(with_flow.refine(z, 0.5), z)


def test_a_row_is_refined_as_it_would_be_alone(with_flow: LatentPrior) -> None:
    z = torch.randn(6, Z, generator=torch.Generator().manual_seed(5))
    together = with_flow.refine(z, 0.6, noise=1.0, seed=3)
    alone = torch.cat([with_flow.refine(row.unsqueeze(0), 0.6, noise=1.0, seed=3) for row in z])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_without_a_flow_refining_leaves_z(gaussian: LatentPrior) -> None:
    z = torch.randn(3, Z)
    assert torch.equal(gaussian.refine(z, 0.7), z)


def test_what_is_written_is_read_back(with_flow: LatentPrior) -> None:
    again = LatentPrior.from_tensors(with_flow.to_tensors(), Z, 2)
    assert torch.equal(again.draw(3, 1, label=1), with_flow.draw(3, 1, label=1))
    assert torch.equal(again.typicality(torch.zeros(1, Z)), with_flow.typicality(torch.zeros(1, Z)))


def test_a_walk_bends_inward_between_its_ends() -> None:
    bump = walk_bump(11, 0.4).squeeze(1)
    assert float(bump[0]) == 1.0
    assert float(bump[-1]) == pytest.approx(1.0)
    assert float(bump.min()) == pytest.approx(0.6)


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan")])
def test_refine_out_of_range_is_refused(with_flow: LatentPrior, amount: float) -> None:
    with pytest.raises(ConfigError, match="refine"):
        with_flow.refine(torch.zeros(1, Z), amount)


@pytest.mark.parametrize("label", [-1, 2])
def test_an_unknown_label_is_refused(with_flow: LatentPrior, label: int) -> None:
    with pytest.raises(ConfigError, match="label"):
        with_flow.draw(1, 0, label=label)


def broken(prior: LatentPrior, kind: str) -> dict[str, torch.Tensor]:
    tensors = prior.to_tensors()
    match kind:
        case "missing":
            del tensors["covariance"]
        case "left over":
            tensors["more"] = torch.zeros(1)
        case "shape":
            tensors["mean"] = torch.zeros(Z + 1)
        case "nan":
            tensors["flow.output.bias"] = torch.full((Z,), float("nan"))
        case "no covariance":
            tensors["covariance"] = -torch.eye(Z)
        case "integers":
            tensors["mean"] = torch.zeros(Z, dtype=torch.int64)
        case "flow in parts":
            del tensors["flow.blocks.0.up.weight"]
        case "flow without input":
            del tensors["flow.input.weight"]
        case "flow of another size":
            tensors["flow.output.bias"] = torch.zeros(Z + 1)
        case "flow far too wide":
            tensors["flow.input.weight"] = torch.zeros(100_000, Z)
    return tensors


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "left over",
        "shape",
        "nan",
        "integers",
        "no covariance",
        "flow in parts",
        "flow without input",
        "flow of another size",
        "flow far too wide",
    ],
)
def test_a_damaged_file_is_refused(with_flow: LatentPrior, kind: str) -> None:
    with pytest.raises(ConfigError):
        LatentPrior.from_tensors(broken(with_flow, kind), Z, 2)


def test_texts_without_labels_have_a_prior_too() -> None:
    mu, logvar, _ = encodings()
    prior = fit_prior(mu, logvar, None, num_labels=0, flow_steps=3)
    assert prior.draw(2, 0).shape == (2, Z)
    torch.testing.assert_close(prior.std, mu.std(0, unbiased=False))
    assert replace(prior, network=None).draw(2, 0).shape == (2, Z)


@pytest.mark.parametrize("num_labels", [0, 1])
def test_a_prior_of_one_text_and_of_texts_that_are_all_alike_is_finite(num_labels: int) -> None:
    for mu in (torch.full((1, Z), 2.0), torch.full((300, Z), 2.0)):
        labels = [0] * len(mu) if num_labels else None
        prior = fit_prior(mu, torch.full_like(mu, -4.0), labels, num_labels, flow_steps=3)
        assert prior.network is None
        assert all(bool(torch.isfinite(tensor).all()) for tensor in prior.to_tensors().values())
        torch.testing.assert_close(
            LatentPrior.from_tensors(prior.to_tensors(), Z, num_labels).draw(2, 0), mu[:1].expand(2, Z)
        )


def test_a_prior_of_one_text_a_label_is_finite_and_draws() -> None:
    mu = torch.eye(Z)
    prior = fit_prior(mu, torch.full_like(mu, -4.0), list(range(Z)), Z, flow_steps=5)
    again = LatentPrior.from_tensors(prior.to_tensors(), Z, Z)
    assert bool(torch.isfinite(again.draw(3, 1, label=2)).all())
    assert bool(torch.isfinite(again.refine(mu, 0.5)).all())
    assert bool(torch.isfinite(again.typicality(mu)).all())


@pytest.mark.parametrize("deviation", [1.0, 10.0])
@pytest.mark.parametrize("logvar", [-12.0, -30.0])
def test_fewer_texts_than_dimensions_with_narrow_posteriors_have_a_prior(deviation: float, logvar: float) -> None:
    """What float32 rounded away was more than the ridge: the covariance was refused as no covariance."""
    mu = deviation * torch.randn(60, 256, generator=torch.Generator().manual_seed(0))
    prior = fit_prior(mu, torch.full_like(mu, logvar), [number % 2 for number in range(60)], 2, flow_steps=0)
    again = LatentPrior.from_tensors(prior.to_tensors(), 256, 2)
    assert bool(torch.isfinite(again.typicality(mu)).all())
    assert again.label_change(again.label_direction(0, 1)) is not None


def test_a_dimension_that_says_nothing_leaves_the_flow_finite() -> None:
    mu = torch.randn(300, Z, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1.0, 1.0, 1e-6])
    losses: list[float] = []
    fit_prior(
        mu, torch.zeros(300, Z), None, 0, flow_steps=100, flow_width=32, on_step=lambda *told: losses.append(told[2])
    )
    assert losses[-1] < 10


@pytest.mark.parametrize(
    ("num_texts", "latent_size", "steps"), [(100, 64, 0), (5000, 3, 0), (5000, 64, 500), (10**6, 64, 1500)]
)
def test_the_flow_grows_with_the_texts(num_texts: int, latent_size: int, steps: int) -> None:
    assert FlowSize.for_texts(num_texts, latent_size).steps == steps


def test_a_difference_between_labels_is_recognised_with_its_length_and_way(gaussian: LatentPrior) -> None:
    way = gaussian.label_direction(0, 1)
    change = gaussian.label_change(way)
    assert change is not None
    assert (change.source, change.target) == (0, 1)
    assert change.share == pytest.approx(1.0, abs=1e-4)
    back = gaussian.label_change(-0.5 * way)
    assert back is not None
    assert (back.source, back.target, round(back.share, 4)) == (1, 0, 0.5)


def test_what_differs_beside_the_label_is_no_change_of_it(gaussian: LatentPrior) -> None:
    way = gaussian.label_direction(0, 1).double()
    within = gaussian.covariance.double() + 0.05 * torch.diag(gaussian.posterior_variance.double())
    normal = torch.linalg.solve(within, way)
    other = torch.randn(Z, generator=torch.Generator().manual_seed(9)).double()
    beside = other - (other @ normal) / (normal @ normal) * normal
    change = gaussian.label_change(5.0 * beside.float())
    assert change is not None
    assert abs(change.share) < 1e-4


def test_texts_without_labels_show_no_change_of_label() -> None:
    mu, logvar, _ = encodings()
    assert fit_prior(mu, logvar, None, num_labels=0, flow_steps=0).label_change(torch.ones(Z)) is None


def test_a_text_lies_on_the_side_of_the_label_that_it_is_nearer_to(gaussian: LatentPrior) -> None:
    means = torch.stack([gaussian.label_means[0], gaussian.label_means[:2].mean(0), gaussian.label_means[1]])
    torch.testing.assert_close(gaussian.label_side(means, 0, 1), torch.tensor([-0.5, 0.0, 0.5]), atol=1e-5, rtol=0)
    torch.testing.assert_close(gaussian.label_side(means, 1, 0), -gaussian.label_side(means, 0, 1))


def test_a_side_is_what_linear_discriminant_analysis_says(gaussian: LatentPrior) -> None:
    """log p(1|z) - log p(0|z) of two Gaussians of one covariance, over what lies between their means."""
    mu = torch.randn(20, Z, generator=torch.Generator().manual_seed(3))
    within = (gaussian.covariance + 0.05 * torch.diag(gaussian.posterior_variance)).double()
    logs = [
        torch.distributions.MultivariateNormal(gaussian.label_means[label].double(), within).log_prob(mu.double())
        for label in (0, 1)
    ]
    way = gaussian.label_direction(0, 1).double()
    expected = (logs[1] - logs[0]) / (way @ torch.linalg.solve(within, way))
    torch.testing.assert_close(gaussian.label_side(mu, 0, 1), expected.float(), atol=1e-4, rtol=1e-4)
