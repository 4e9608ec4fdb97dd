"""The #params column of the paper's Table 1."""

import pytest

from adavae.model.variants import paper_variants


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("AdaVAE", 14.66),
        ("w/ LG", 15.13),
        ("w/ LG; -PSA; +AtM", 9.43),
        ("w/ LG; +AtM", 20.82),
        ("+Prefix", 15.65),
        ("w/ parallel_attn", 14.66),
        ("w/ sequential_attn", 14.66),
        ("w/ Fine-tuning", 100.0),
    ],
)
def test_trained_share_is_the_papers(name: str, percent: float) -> None:
    shares = {variant.name: variant.share_percent for variant in paper_variants()}
    assert shares[name] == pytest.approx(percent, abs=0.05)
