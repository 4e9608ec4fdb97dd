"""Encodings as points of a plane, and what stands out among them: neighbours, and whether labels come apart.

Pure functions over mu, (N, Z). How many rows are allowed, and which thread computes, is left to the service.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adavae.model.errors import ConfigError

MIN_ROWS = 3
_CHUNK_ROWS = 512  # rows of distances in memory at once
_TSNE_COMPONENTS, _PERPLEXITY, _TSNE_ITERATIONS = 50, 30.0, 500
_TSNE_SPREAD = 1e-4  # standard deviation of the initial points, as its authors advise
_FOLDS = 5
_RIDGE = 0.1  # times the mean variance
_LEAST_VARIANCE = float(np.finfo(np.float32).tiny)  # of rows that are all equal; its inverse is a number, too

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Plane:
    """The two directions in which rows differ most; ``mean + points @ basis`` maps a point of the plane back to z.

    Attributes:
        points: (N, 2), float32.
        mean: (Z,), float32.
        basis: Orthonormal rows, (2, Z), float32; a row of zeros where z has no second dimension.
        explained: Share of the variance along each of the two.
    """

    points: Floats
    mean: Floats
    basis: Floats
    explained: tuple[float, float]

    def lift(self, points: ArrayLike) -> Floats:
        """z of points of the plane, (N, 2) or one (2,): (N, Z), float32."""
        rows = np.atleast_2d(np.asarray(points, dtype=np.float32))
        z: Floats = self.mean + rows @ self.basis
        return z


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest other row of each row, and its distance; both (N,)."""

    nearest: NDArray[np.int64]
    distance: Floats


@dataclass(frozen=True, slots=True)
class Separation:
    """How well a linear classifier on z predicts the labels of rows it has not seen.

    Attributes:
        accuracy: Over five folds.
        majority: Accuracy of always predicting the most frequent label.
        rows: Number of rows whose label is frequent enough.
    """

    accuracy: float
    majority: float
    rows: int


def principal_plane(mu: Floats) -> Plane:
    """Principal components: mu is centred, and projected on the first two eigenvectors of its covariance.

    Args:
        mu: (N, Z), float32.

    Raises:
        ConfigError: Fewer than three rows.
    """
    _check_rows(mu)
    mean = mu.mean(axis=0, dtype=np.float64)
    centred = mu - mean  # (N, Z), float64
    axes, variances = _principal_axes(centred)
    basis = np.zeros((2, mu.shape[1]))
    basis[: len(axes)] = axes[:2]
    total = max(float(variances.sum()), np.finfo(np.float64).tiny)
    first, second = ([*variances, 0.0])[:2]
    return Plane(
        (centred @ basis.T).astype(np.float32),
        mean.astype(np.float32),
        basis.astype(np.float32),
        (float(first) / total, float(second) / total),
    )


def tsne(mu: Floats) -> Floats:
    """t-SNE (van der Maaten and Hinton 2008) of the first 50 principal components, (N, 2), float32; deterministic.

    Raises:
        ConfigError: Fewer than three rows.
    """
    from sklearn.manifold import TSNE

    _check_rows(mu)
    centred = mu - mu.mean(axis=0, dtype=np.float64)
    axes, variances = _principal_axes(centred)
    reduced = centred @ axes[:_TSNE_COMPONENTS].T  # (N, up to 50)
    has_plane = len(variances) > 1 and variances[1] > 0
    points: Floats = TSNE(
        perplexity=min(_PERPLEXITY, (len(mu) - 1) / 3),
        max_iter=_TSNE_ITERATIONS,
        init=(reduced[:, :2] / reduced[:, 0].std() * _TSNE_SPREAD).astype(np.float32) if has_plane else "random",
        random_state=0,
        n_jobs=1,
    ).fit_transform(reduced)
    return points.astype(np.float32)


def neighbours(mu: Floats) -> Neighbours:
    """The nearest other row of each, by Euclidean distance; the first of equally near ones.

    Args:
        mu: (N, Z), float32, N > 1.
    """
    squared = np.square(mu).sum(axis=1)  # (N,)
    nearest = np.empty(len(mu), dtype=np.int64)
    for start in range(0, len(mu), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        away = squared - 2 * mu[rows] @ mu.T  # (rows, N), up to a constant per row
        away[np.arange(len(away)), np.arange(start, start + len(away))] = np.inf
        nearest[rows] = away.argmin(axis=1)
    distance = np.linalg.norm(mu - mu[nearest], axis=1)  # exact where the rows are equal
    return Neighbours(nearest, distance.astype(np.float32))


def separation(mu: Floats, labels: Sequence[str]) -> Separation | None:
    """Accuracy of ridge regression on the labels, each row predicted by a classifier that has not seen it.

    Args:
        mu: (N, Z), float32.
        labels: N of them; those with fewer than five rows are left out.

    Returns:
        None where fewer than two labels have five rows.
    """
    _, codes, counts = np.unique(np.asarray(labels, dtype=object), return_inverse=True, return_counts=True)
    is_kept = (counts >= _FOLDS)[codes]
    if np.count_nonzero(counts >= _FOLDS) < 2:
        return None
    kept_names, kept = np.unique(codes[is_kept], return_inverse=True)
    z, targets = mu[is_kept].astype(np.float64), np.eye(len(kept_names))[kept]  # (N, Z), (N, labels)
    folds = _stratified_folds(kept)
    predicted = np.empty_like(kept)
    for fold in range(_FOLDS):
        is_held = folds == fold
        predicted[is_held] = _ridge_scores(z[~is_held], targets[~is_held], z[is_held]).argmax(axis=1)
    majority = float(np.bincount(kept).max() / len(kept))
    return Separation(float(np.mean(predicted == kept)), majority, len(kept))


def _principal_axes(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors as rows, (Z, Z), largest variance first, and the sums of squares along them, (Z,)."""
    squares, vectors = np.linalg.eigh(centred.T @ centred)
    axes: NDArray[np.float64] = vectors.T[::-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    axes = axes * np.sign(largest)  # otherwise the sign is arbitrary
    return axes, np.maximum(squares[::-1], 0.0)


def _stratified_folds(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """A fold for each row, (N,): the rows of each label are dealt over the folds in random order."""
    order = np.random.default_rng(0).permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]
    folds = np.empty(len(codes), dtype=np.int64)
    folds[order] = np.arange(len(codes)) % _FOLDS
    return folds


def _ridge_scores(
    z: NDArray[np.float64], targets: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Least squares from z, (N, Z), to targets, (N, labels), with a penalty on the weights; applied to ``others``."""
    middle, level = z.mean(axis=0), targets.mean(axis=0)
    centred = z - middle
    covariance = centred.T @ centred
    penalty = _RIDGE * max(float(np.trace(covariance)) / len(covariance), _LEAST_VARIANCE)
    weights = np.linalg.solve(covariance + penalty * np.eye(len(covariance)), centred.T @ (targets - level))
    scores: NDArray[np.float64] = (others - middle) @ weights + level
    return scores


def _check_rows(mu: Floats) -> None:
    if len(mu) < MIN_ROWS:
        raise ConfigError("texts", len(mu), f"a plane needs at least {MIN_ROWS} texts: give more")
