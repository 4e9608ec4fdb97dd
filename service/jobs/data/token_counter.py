"""How many tokens texts have for the configured backbone; only its tokenizer is loaded where that is possible."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adavae.model.config import BackboneConfig
from adavae.model.storage.tokenizer import Tokenizer
from adavae.service.settings import Settings


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """A tokenizer, and how many of its tokens one text may have."""

    tokenizer: Tokenizer
    max_tokens: int

    @property
    def max_characters(self) -> int:
        """A text with more of them has more than ``max_tokens``."""
        return self.max_tokens * self.tokenizer.longest_token

    def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text; of one that is far too long only its beginning's, which is too long."""
        most = self.max_characters + 1
        return [len(row) for row in self.tokenizer.encode_many([text[:most] for text in texts])]


def open_token_counter(settings: Settings) -> TokenCounter:
    """Reads the backbone's tokenizer; raises as ``model.storage.pretrained.load_backbone`` does.

    A backbone from the hub is loaded whole once: there is no other way to it.
    """
    directory = Path(settings.backbone_source)
    if not (directory / "config.json").is_file():
        from adavae.model.storage.pretrained import load_backbone

        pretrained = load_backbone(settings.backbone_source)
        return TokenCounter(pretrained.tokenizer, pretrained.backbone.config.n_positions - 1)
    config = BackboneConfig.from_hugging_face(json.loads((directory / "config.json").read_bytes()))
    return TokenCounter(Tokenizer.from_directory(directory), config.n_positions - 1)
