"""Whether an adapter set can be used at all: it reads and writes one text, as requests will ask it to.

Whole files are not enough: finite weights may be so large that nothing that is computed with them is.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from adavae.model.decoding.decoding import Decoding
from adavae.model.errors import AdapterSetMismatch, AdaVAEError, WeightsCorrupted
from adavae.model.latent.space import LatentSpace
from adavae.model.storage.adapter_set import AdapterSet, read_adapter_set
from adavae.model.storage.manifest import Manifest, check_fits, read_manifest
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.storage.tensor_shapes import check_shapes
from adavae.model.text_model import TextModel

_TEXT = "the food was great."
_NUM_TOKENS = 4


def try_out(adapter_set: AdapterSet, pretrained: PretrainedBackbone, text: str = _TEXT) -> None:
    """Encodes a text, decodes its z, classifies it where there is a head, and draws from the prior.

    Raises:
        WeightsCorrupted: Something of it fails, or is not finite.
    """
    reference = adapter_set.manifest.reference
    with _failing_as_corrupted(reference):
        model = TextModel.of_sets(pretrained, {reference: adapter_set})
    try_texts(model, reference, text)
    try_drawing(model.space_of(reference))


def try_texts(model: TextModel, reference: str, text: str = _TEXT) -> None:
    """The part of ``try_out`` that is about texts, with a set that ``model`` has in memory; raises as that does."""
    with _failing_as_corrupted(reference):
        encoded = model.encode([text], reference, truncate=True)
        is_finite = bool(torch.isfinite(encoded.mu).all() and torch.isfinite(encoded.logvar).all())
        _check(is_finite, reference, "the z of a text")
        model.decode(encoded.mu, reference, Decoding(max_tokens=min(_NUM_TOKENS, model.max_text_tokens)))
        if model.config_of(reference).labels:
            (classified,) = model.classify_latents(encoded.mu, reference)
            _check(all(map(math.isfinite, classified.scores.values())), reference, "a label's score")


def try_drawing(space: LatentSpace) -> None:
    """The part of ``try_out`` that is about a set's prior; raises as that does."""
    with _failing_as_corrupted(space.reference):
        _check(bool(torch.isfinite(space.draw(1, seed=0)).all()), space.reference, "what it draws")


class SetTrial:
    """Whether sets may be installed beside a backbone: those trained over it are checked against it, and used.

    Others may be installed too, for a service over their own backbone; of these only the size is looked at.
    """

    def __init__(self, pretrained: PretrainedBackbone | None, max_bytes: int, why_not: str = "") -> None:
        """Over ``pretrained``, without which nothing can be tried.

        Args:
            pretrained: The backbone.
            max_bytes: Of memory that a set may take.
            why_not: Why a set that cannot be tried cannot, for people.
        """
        self._pretrained, self._max_bytes, self.why_not = pretrained, max_bytes, why_not

    def accept(self, manifest: Manifest) -> None:
        """Looks at what a set says of itself.

        Raises:
            AdapterSetMismatch: It is too large, or its tensors are not those of its configuration.
            ConfigError: It asks for more than the backbone has.
        """
        num_bytes = sum(manifest.files[name].num_bytes for name in manifest.shapes_of_files)
        if num_bytes > self._max_bytes:
            raise AdapterSetMismatch(
                f"{manifest.reference} has {num_bytes:,} bytes of tensors, adapter sets in memory may take "
                f"{self._max_bytes:,} (ADAVAE_BANK_BYTES): allow more, or train a smaller set"
            )
        if self._pretrained is not None and self.can_try(manifest):
            check_shapes(manifest, self._pretrained.backbone.config)

    def can_try(self, manifest: Manifest) -> bool:
        """Whether it was trained over this very backbone."""
        if self._pretrained is None:
            return False
        try:
            check_fits(manifest, self._pretrained.digests, self._pretrained.tokenizer.digest)
        except AdapterSetMismatch:
            return False
        return True

    def check_servable(self, path: Path) -> None:
        """Raises what keeps a service over this backbone from serving the set at ``path``."""
        manifest = read_manifest(path)
        if self._pretrained is not None:
            check_fits(manifest, self._pretrained.digests, self._pretrained.tokenizer.digest)
        self.try_directory(path)

    def try_directory(self, path: Path) -> bool:
        """Uses the set at ``path``; False where it is for another backbone. Raises as ``accept`` and ``try_out``."""
        manifest = read_manifest(path)
        self.accept(manifest)
        if self._pretrained is None or not self.can_try(manifest):
            return False
        try_out(read_adapter_set(path), self._pretrained)
        return True


def _check(is_finite: bool, reference: str, what: str) -> None:
    if not is_finite:
        raise WeightsCorrupted(f"{reference} was tried, and {what} is not finite: train the set again")


@contextmanager
def _failing_as_corrupted(reference: str) -> Iterator[None]:
    try:
        yield
    except WeightsCorrupted:
        raise
    except (AdaVAEError, RuntimeError, ArithmeticError) as exc:
        raise WeightsCorrupted(f"{reference} was tried and failed ({exc}): train the set again") from exc
