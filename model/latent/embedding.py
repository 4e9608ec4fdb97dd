"""Sentence embeddings out of encodings: what clients of embeddings expect, vectors of length 1 whose cosine compares.

mu as it is has a mean of its own, which every cosine would mostly compare; so that is taken off first. Fewer dimensions
are the leading principal directions of where texts lie, in the order of their variance.
"""

import torch
from torch import Tensor

from adavae.model.errors import AdapterSetMismatch, ConfigError
from adavae.model.latent.space import LatentSpace


def embedded(space: LatentSpace, mu: Tensor, dimensions: int | None = None) -> Tensor:
    """Encodings as embeddings.

    Args:
        space: Of the adapter set.
        mu: (N, Z), float32.
        dimensions: D, at most Z; None for all, in the order of mu.

    Returns:
        (N, D), float32, each of length 1; a text at the very mean has no direction and stays zero.

    Raises:
        ConfigError, AdapterSetMismatch: As ``check_dimensions``.
    """
    check_dimensions(space, dimensions)
    centred = mu.float() - space.mean
    if dimensions is not None and space.prior is not None:
        centred = centred @ space.prior.principal_directions[:, :dimensions]
    return torch.nn.functional.normalize(centred, dim=1)


def check_dimensions(space: LatentSpace, dimensions: int | None) -> None:
    """Before anything is encoded for it.

    Raises:
        ConfigError: ``dimensions`` is out of range.
        AdapterSetMismatch: Fewer are wanted of a set without a prior, whose principal directions are unknown.
    """
    if dimensions is None:
        return
    if not 1 <= dimensions <= space.latent_size:
        rule = f"{space.reference} has {space.latent_size} dimensions: ask for 1 to {space.latent_size}"
        raise ConfigError("dimensions", dimensions, rule)
    if space.prior is None:
        raise AdapterSetMismatch(f"{space.reference} has no prior: leave dimensions out, or train the set again")
