"""The latent space of an adapter set, from its files."""

from adavae.model.latent.space import LatentSpace
from adavae.model.storage.adapter_set import AdapterSet


def space_of(adapter_set: AdapterSet) -> LatentSpace:
    """The set's latent space; raises ConfigError if its prior is that of another set."""
    manifest = adapter_set.manifest
    return LatentSpace.of(manifest.reference, manifest.config.labels, manifest.prior, adapter_set.prior_tensors)
