"""Encodings as points of a plane: the way there and back, neighbours, and whether labels come apart."""

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from adavae.model.errors import ConfigError
from adavae.model.latent.projections import neighbours, principal_plane, separation, tsne

N, Z = 60, 16


def rows(seed: int = 0, num: int = N, size: int = Z) -> NDArray[np.float32]:
    """Wide along two directions, narrow along the others."""
    draw = np.random.default_rng(seed)
    widths = np.full(size, 0.1)
    widths[: min(2, size)] = [3.0, 2.0][: min(2, size)]
    turned, _ = np.linalg.qr(draw.normal(size=(size, size)))
    return (draw.normal(size=(num, size)) * widths @ turned + 1.0).astype(np.float32)


def test_points_are_the_projection_on_an_orthonormal_basis() -> None:
    mu = rows()
    plane = principal_plane(mu)
    np.testing.assert_allclose(plane.basis @ plane.basis.T, np.eye(2), atol=1e-5)
    np.testing.assert_allclose((mu - plane.mean) @ plane.basis.T, plane.points, atol=1e-4)


def test_the_way_back_loses_what_the_plane_does_not_show_and_nothing_else() -> None:
    mu = rows()
    plane = principal_plane(mu)
    back = plane.lift(plane.points)
    np.testing.assert_allclose(back, plane.mean + plane.points @ plane.basis, atol=1e-5)
    np.testing.assert_array_equal(plane.lift(plane.points[3]), back[3:4])
    lost = np.square(mu - back).sum() / np.square(mu - plane.mean).sum()
    assert lost == pytest.approx(1 - sum(plane.explained), abs=1e-4)
    assert 0.9 < sum(plane.explained) < 1.0


def test_the_plane_agrees_with_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    mu = rows()
    plane, theirs = principal_plane(mu), PCA(2).fit(mu)
    np.testing.assert_allclose(plane.explained, theirs.explained_variance_ratio_, atol=1e-5)
    np.testing.assert_allclose(np.abs(plane.basis @ theirs.components_.T), np.eye(2), atol=1e-3)


def test_the_plane_does_not_turn_with_the_order_of_the_rows() -> None:
    mu = rows()
    there, back = principal_plane(mu), principal_plane(mu[::-1].copy())
    np.testing.assert_allclose(there.points, back.points[::-1], atol=1e-3)


@pytest.mark.parametrize("mu", [np.ones((5, Z), np.float32), rows(size=1)], ids=["equal rows", "one dimension"])
def test_rows_without_a_plane_lie_on_a_line_or_a_point(mu: NDArray[np.float32]) -> None:
    plane = principal_plane(mu)
    assert np.isfinite(plane.points).all()
    np.testing.assert_allclose(plane.points[:, 1], 0, atol=1e-5)
    assert plane.explained[1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("project", [principal_plane, tsne])
def test_two_rows_are_refused(project: object) -> None:
    with pytest.raises(ConfigError, match="at least 3 texts"):
        project(rows(num=2))  # type: ignore[operator]


def test_tsne_keeps_groups_together_and_is_the_same_each_time() -> None:
    mu = np.concatenate([rows(num=20), rows(num=20) + 30])
    points = tsne(mu)
    np.testing.assert_array_equal(points, tsne(mu))
    nearest = neighbours(points).nearest
    assert ((np.arange(40) < 20) == (nearest < 20)).all()


@pytest.mark.parametrize("num", [3, 4])
def test_tsne_takes_few_rows_and_copies(num: int) -> None:
    assert tsne(rows(num=num)).shape == (num, 2)
    assert np.isfinite(tsne(np.ones((num, Z), np.float32))).all()


def test_neighbours_are_those_of_all_pairs() -> None:
    mu = rows(num=1100)
    found = neighbours(mu)
    away = np.linalg.norm(mu[:, None] - mu[None], axis=2)
    np.fill_diagonal(away, np.inf)
    np.testing.assert_allclose(found.distance, away.min(axis=1), rtol=1e-4)
    np.testing.assert_allclose(away[np.arange(1100), found.nearest], away.min(axis=1), rtol=1e-3)


def test_a_copy_is_at_distance_zero() -> None:
    mu = rows()
    mu[7] = mu[3]
    found = neighbours(mu)
    assert (found.nearest[7], found.nearest[3]) == (3, 7)
    assert found.distance[7] == found.distance[3] == 0


def test_labels_that_lie_apart_are_told_and_labels_of_chance_are_not() -> None:
    draw = np.random.default_rng(0)
    mu = draw.normal(size=(200, Z)).astype(np.float32)
    apart = ["a" if row[0] + row[1] > 0 else "b" for row in mu]
    chance = ["a" if value > 0.5 else "b" for value in draw.random(200)]
    told, untold = separation(mu, apart), separation(mu, chance)
    assert told is not None
    assert untold is not None
    assert told.accuracy > 0.9
    assert untold.accuracy < untold.majority + 0.1


def test_no_row_is_judged_by_a_classifier_that_has_seen_it() -> None:
    """With more dimensions than rows a classifier knows its own rows by heart."""
    draw = np.random.default_rng(1)
    mu = draw.normal(size=(60, 200)).astype(np.float32)
    found = separation(mu, ["a", "b"] * 30)
    assert found is not None
    assert found.accuracy < 0.8


@pytest.mark.parametrize("others", [0, 1])
def test_of_rows_that_are_all_equal_the_commonest_label_is_told(others: int) -> None:
    """The penalty's inverse was infinite: the first label was named for all of them."""
    mu = np.vstack([np.full((25 - others, 4), 0.3, np.float32), rows(num=others, size=4)])
    found = separation(mu, ["a"] * 5 + ["b"] * 20)
    assert found is not None
    assert (found.accuracy, found.majority) == (pytest.approx(0.8, abs=0.05), 0.8)


def test_rare_labels_are_left_out_and_one_label_is_no_separation() -> None:
    mu = rows()
    found = separation(mu, ["a"] * 30 + ["b"] * 28 + ["c"] * 2)
    assert found is not None
    assert found.rows == 58
    assert separation(mu, ["a"] * 58 + ["c"] * 2) is None


def test_labels_that_are_left_out_take_no_memory() -> None:
    """A row of the targets had a place for each of them: a request of 5,000 labels took 200 MB."""
    mu, names = rows(), ["a"] * 30 + ["b"] * 30
    rare = [f"rare {number}" for number in range(3000)]
    many = np.concatenate([mu, np.zeros((len(rare), mu.shape[1]), np.float32)])
    tracemalloc.start()
    found = separation(many, [*names, *rare])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == separation(mu, names)
    assert peak < 8_000_000
