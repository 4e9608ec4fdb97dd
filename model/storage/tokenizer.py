"""Byte-level BPE as the backbone was trained with: text to token ids and back."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from adavae.model.errors import BackboneNotFound, WeightsCorrupted

END_OF_TEXT = "<|endoftext|>"


class Tokenizer:
    """A checkpoint's tokenizer, in which a text can never smuggle in the end-of-text token."""

    def __init__(self, tokenizer_json: str) -> None:
        """From the content of a ``tokenizer.json``.

        Raises:
            WeightsCorrupted: The content is not a tokenizer, or has no end-of-text token.
        """
        try:
            content = json.loads(tokenizer_json)
            self._tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
        except Exception as exc:  # the library raises bare Exception
            raise WeightsCorrupted(f"tokenizer.json is not a tokenizer ({exc}): fetch the checkpoint again") from exc
        eos_token_id = self._tokenizer.token_to_id(END_OF_TEXT)
        if eos_token_id is None:
            raise WeightsCorrupted(f"tokenizer.json has no {END_OF_TEXT} token: this is not a GPT-2 tokenizer")
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True  # "<|endoftext|>" in a text is plain text
        self.content = tokenizer_json
        self.eos_token_id: int = eos_token_id
        vocab = self._tokenizer.get_vocab(with_added_tokens=True)
        self._vocab_size = 1 + max(vocab.values())
        self._longest_token = max(map(len, vocab))
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        self.digest = hashlib.sha256(canonical.encode()).hexdigest()

    @classmethod
    def from_directory(cls, directory: Path) -> Self:
        """Reads ``tokenizer.json``, or builds the same from ``vocab.json`` and ``merges.txt``.

        Raises:
            BackboneNotFound: Neither is there.
            WeightsCorrupted: What is there cannot be read.
        """
        whole, vocab, merges = (directory / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
        try:
            if whole.is_file():
                return cls(whole.read_text(encoding="utf-8"))
            if vocab.is_file() and merges.is_file():
                return cls(_byte_level_bpe(vocab, merges))
        except (OSError, UnicodeDecodeError) as exc:
            raise WeightsCorrupted(f"the tokenizer in {directory} cannot be read ({exc}): fetch it again") from exc
        raise BackboneNotFound(
            f"{directory} has neither tokenizer.json nor vocab.json with merges.txt: copy the tokenizer there"
        )

    @property
    def vocab_size(self) -> int:
        """Every token id is below it."""
        return self._vocab_size

    @property
    def longest_token(self) -> int:
        """Bytes of the longest token: a text of more than ``n`` times as many characters has more than ``n`` tokens."""
        return self._longest_token

    def encode(self, text: str) -> list[int]:
        """Token ids of one text, without end-of-text."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """As ``encode``, for many texts at once."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of token ids; end-of-text is left out."""
        kept = [token_id for token_id in token_ids if token_id != self.eos_token_id]
        text: str = self._tokenizer.decode(kept, skip_special_tokens=False)
        return text


def _byte_level_bpe(vocab: Path, merges: Path) -> str:
    try:
        tokenizer = tokenizers.Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
    except Exception as exc:  # the library raises bare Exception
        raise WeightsCorrupted(f"{vocab} or {merges.name} is damaged ({exc}): fetch the checkpoint again") from exc
    if tokenizer.token_to_id(END_OF_TEXT) is None:  # adding it would give it an id that the model does not know
        raise WeightsCorrupted(f"{vocab} has no {END_OF_TEXT} token: this is not a GPT-2 tokenizer")
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    content: str = tokenizer.to_str()
    return content
