"""What jobs need to know of the backbone, read without torch and without holding its weights: its sizes, its digest."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from adavae.model.config import BackboneConfig
from adavae.model.errors import BackboneNotFound, WeightsCorrupted
from adavae.service.settings import Settings

_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "U8": "uint8", "BOOL": "bool"}
_CHUNK_BYTES = 1024**2
_LONGEST_HEADER = 100 * 1024**2


@dataclass(frozen=True, slots=True)
class BackboneDescription:
    """A checkpoint as ``model.storage.pretrained.load_backbone`` would load it."""

    config: BackboneConfig
    digest: str


def describe_backbone(settings: Settings) -> BackboneDescription:
    """Reads the configured backbone from end to end.

    Raises:
        BackboneNotFound: There is no such checkpoint.
        ConfigError: It is not of the GPT-2 family.
        WeightsCorrupted: A file of it cannot be read.
    """
    directory = Path(settings.backbone_source)
    if not directory.is_dir():
        return _loaded(settings)
    try:
        content = json.loads((directory / "config.json").read_bytes())
        config = BackboneConfig.from_hugging_face(content)
        return BackboneDescription(config, _digest(config, directory / "model.safetensors"))
    except FileNotFoundError as exc:
        raise BackboneNotFound(
            f"{directory} has no {Path(exc.filename).name}: put a checkpoint in the Hugging Face layout there, or name "
            "another with ADAVAE_BACKBONE"
        ) from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise WeightsCorrupted(f"{directory} is damaged ({type(exc).__name__}): fetch the checkpoint again") from exc


def _loaded(settings: Settings) -> BackboneDescription:
    """From the hub: fetched and loaded once, as there is no other way to it."""
    from adavae.model.storage.pretrained import load_backbone

    pretrained = load_backbone(settings.backbone_source)
    return BackboneDescription(pretrained.backbone.config, pretrained.digest)


def _digest(config: BackboneConfig, path: Path) -> str:
    """The digest that ``model.storage.pretrained`` gives, over the file instead of over tensors."""
    digest = hashlib.sha256(json.dumps(config.to_hugging_face(), sort_keys=True).encode())
    with path.open("rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        if header_size > _LONGEST_HEADER:
            raise ValueError(header_size)
        header = json.loads(file.read(header_size))
        header.pop("__metadata__", None)
        for name in sorted(header):
            entry = header[name]
            digest.update(f"{name}|torch.{_DTYPES[entry['dtype']]}|{tuple(entry['shape'])}|".encode())
            start, end = entry["data_offsets"]
            file.seek(8 + header_size + start)
            while start < end:
                chunk = file.read(min(_CHUNK_BYTES, end - start))
                if not chunk:
                    raise ValueError("the file is shorter than its header says")
                digest.update(chunk)
                start += len(chunk)
    return digest.hexdigest()
