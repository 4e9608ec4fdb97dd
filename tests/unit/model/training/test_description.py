"""A set's new card: the same tensors, other figures kept, what it writes measured."""

from pathlib import Path

from adavae.model.storage.adapter_set import read_adapter_set, write_adapter_set
from adavae.model.storage.card_metadata import Origin
from adavae.model.storage.manifest import TENSORS
from adavae.model.storage.pretrained import load_backbone
from adavae.model.training.description import described
from adavae.model.training.latent_cases import Group, LatentSpaceConfig
from tests.tiny_home import tiny_settings
from tests.tiny_text import reviews

SMALL = LatentSpaceConfig(groups=(Group.WALKS, Group.DRAWS), num_walks=2, num_draws=4, num_texts=20, num_samples=2)
ABOUT = "Reviews that nobody wrote,\n# made for a test."


def test_a_described_set_has_its_tensors_its_figures_and_a_card_that_says_more(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    (path,) = (settings.weights / "adapters" / "plain").iterdir()
    before = read_adapter_set(path)
    pretrained = load_backbone(settings.weights / "backbone")
    origin = Origin(license="mit", about=ABOUT)
    new = described(
        before, pretrained, reviews(30, 1, has_labels=False), reviews(60, 2, has_labels=False), origin, SMALL
    )
    after = read_adapter_set(write_adapter_set(tmp_path / "adapters", new))
    assert after.manifest.version != before.manifest.version
    assert after.manifest.files[TENSORS] == before.manifest.files[TENSORS]
    assert {**after.manifest.metrics, "latent_space": None} == {**before.manifest.metrics, "latent_space": None}
    assert set(after.manifest.metrics["latent_space"]) >= {"walks", "draws", "samples", "judges"}
    assert "license: mit" in new.model_card
    assert "## Its data\n\nReviews that nobody wrote, # made for a test.\n" in new.model_card
    assert "| walks: different sentences |" in new.model_card
