"""A map: encodings as points of a plane with what stands out among them, by either method; numpy alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adavae.model.latent.projections import (
    Neighbours,
    Plane,
    Separation,
    neighbours,
    principal_plane,
    separation,
    tsne,
)

MapMethod = Literal["pca", "tsne"]


@dataclass(frozen=True, slots=True)
class MapPoints:
    """Encodings on a plane.

    Attributes:
        points: (N, 2), float32.
        plane: The way back to z; None where the method has none.
        neighbours: The nearest other row of each, in z.
        separation: How well labels come apart; None without labels, or with too few rows of them.
    """

    points: NDArray[np.float32]
    plane: Plane | None
    neighbours: Neighbours
    separation: Separation | None


def map_points(mu: NDArray[np.float32], labels: Sequence[str] | None, method: MapMethod) -> MapPoints:
    """Draws mu, (N, Z), N > 2; ``labels`` are N of them, they do not move the points.

    Raises:
        ConfigError: Fewer than three rows.
    """
    plane = principal_plane(mu) if method == "pca" else None
    points = plane.points if plane is not None else tsne(mu)
    found = separation(mu, labels) if labels is not None else None
    return MapPoints(points, plane, neighbours(mu), found)
