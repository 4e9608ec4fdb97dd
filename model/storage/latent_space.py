"""What the files of an adapter set say of its latent space."""

from adavae.model.latent.space import LatentSpace
from adavae.model.storage.adapter_set import AdapterSet


def space_of(adapter_set: AdapterSet) -> LatentSpace:
    """What a set's files say of where its texts lie; raises ConfigError where its prior is that of another set."""
    manifest = adapter_set.manifest
    return LatentSpace.of(manifest.reference, manifest.config.labels, manifest.prior, adapter_set.prior_tensors)
