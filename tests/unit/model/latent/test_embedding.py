"""Embeddings: centred, of length 1, and in fewer dimensions the leading principal ones."""

from dataclasses import replace

import pytest
import torch

from adavae.model.errors import AdapterSetMismatch, ConfigError
from adavae.model.latent.embedding import embedded
from tests.unit.model.latent.test_label_analogy import SPACE, Z

MU = torch.randn(50, Z, generator=torch.Generator().manual_seed(1)) + 3.0


def test_an_embedding_has_length_one_and_leaves_the_mean_out() -> None:
    vectors = embedded(SPACE, MU)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(50))
    torch.testing.assert_close(vectors, torch.nn.functional.normalize(MU - SPACE.mean))


def test_all_principal_directions_together_keep_every_cosine() -> None:
    whole, turned = embedded(SPACE, MU), embedded(SPACE, MU, Z)
    torch.testing.assert_close(turned @ turned.T, whole @ whole.T, atol=1e-5, rtol=0)


def test_the_first_direction_is_the_one_in_which_texts_differ_most() -> None:
    """Labels lie apart along the first axis there."""
    assert SPACE.prior is not None
    first = SPACE.prior.principal_directions[:, 0]
    assert float(first[0]) > 0.99
    torch.testing.assert_close(embedded(SPACE, MU, 1), torch.sign((MU - SPACE.mean) @ first).unsqueeze(1))


def test_a_text_at_the_mean_has_no_direction() -> None:
    assert torch.equal(embedded(SPACE, SPACE.mean.unsqueeze(0)), torch.zeros(1, Z))


@pytest.mark.parametrize("dimensions", [0, -1, Z + 1])
def test_dimensions_that_the_set_does_not_have_are_refused(dimensions: int) -> None:
    with pytest.raises(ConfigError, match=f"dimensions is {dimensions}: set@1 has {Z} dimensions"):
        embedded(SPACE, MU, dimensions)


def test_without_a_prior_there_are_no_principal_directions() -> None:
    plain = replace(SPACE, prior=None)
    assert embedded(plain, MU).shape == (50, Z)
    with pytest.raises(AdapterSetMismatch, match="leave dimensions out"):
        embedded(plain, MU, 2)
