"""What jobs need to know of the backbone, read without torch and without holding its weights: its sizes, its digest."""

from dataclasses import dataclass

from adavae.model.config import BackboneConfig
from adavae.model.storage.checkpoint_files import checkpoint_digests, checkpoint_directory, read_config, weight_files
from adavae.service.settings import Settings


@dataclass(frozen=True, slots=True)
class BackboneDescription:
    """A checkpoint as ``model.storage.pretrained.load_backbone`` would load it."""

    config: BackboneConfig
    digest: str


def describe_backbone(settings: Settings) -> BackboneDescription:
    """Reads the configured backbone from end to end.

    Raises:
        BackboneNotFound: There is no such checkpoint, or no network to fetch it with.
        ConfigError: It is not of the GPT-2 family.
        WeightsCorrupted: A file of it cannot be read.
    """
    directory = checkpoint_directory(settings.backbone_source)
    config = read_config(directory)
    return BackboneDescription(config, checkpoint_digests(config, weight_files(directory)).digest)
