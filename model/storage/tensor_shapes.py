"""Whether the tensors that a manifest lists are those of its configuration over a backbone; nothing is allocated."""

from adavae.model.config import BackboneConfig
from adavae.model.errors import AdapterSetMismatch
from adavae.model.latent.prior import check_prior_shapes
from adavae.model.parts.adapter_bank import adapter_shapes
from adavae.model.storage.manifest import Manifest


def check_shapes(manifest: Manifest, backbone: BackboneConfig) -> None:
    """Checks a set before any of its tensors is read.

    Raises:
        AdapterSetMismatch: A tensor is missing, left over, or has another shape.
        ConfigError: The set asks for more than the backbone has, or the tensors of its prior are not those of a prior.
    """
    manifest.config.check_fits(backbone)
    expected, found = dict(adapter_shapes(manifest.config, backbone)), manifest.shapes
    if found != expected:
        name = min(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        raise AdapterSetMismatch(
            f"{manifest.reference} is not what it says: by its configuration {name} has shape "
            f"{expected.get(name, 'none, for there is no such tensor')}, in its file {found.get(name, 'none')}: "
            "install the set again, or train it again"
        )
    if manifest.prior_shapes is not None:
        check_prior_shapes(manifest.prior_shapes, manifest.config.latent_size, len(manifest.config.labels))
