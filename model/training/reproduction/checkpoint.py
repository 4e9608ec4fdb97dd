"""A checkpoint of transformers that a row begins from: found, checked and named before anything is trained.

Only safetensors and JSON are read, and no code of a checkpoint is run. What is done with the weights is for
``systems.bert`` and ``systems.t5_checkpoint``, its tokenizer is for ``own_tokens``.
"""

import importlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from adavae.model.errors import ConfigError
from adavae.model.training.reproduction.data_folder import digest_of

_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
_DIGEST = "@sha256:"
_UNUSED = "pooler."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights and a tokenizer in the layout of transformers.

    Attributes:
        option: What names it, such as ``--bert``.
        identity: ``OWNER/NAME@COMMIT`` of the hub, or a folder's name and the digest of its files: in a cell's key.
        folder: Where its files are.
    """

    option: str
    identity: str
    folder: Path

    @classmethod
    def find(cls, option: str, name: str, kinds: Collection[str]) -> Self:
        """Fetches it where it is of the hub, and looks at everything but the weights.

        Args:
            option: What names it.
            name: A folder, or a hub id, with or without ``@REVISION``.
            kinds: Of models (``model_type``) that it may be one of.

        Raises:
            ConfigError: transformers is missing, there is no such checkpoint here nor on the hub, it is of another
                kind, or has no safetensors.
        """
        transformers_of(option, name)
        is_local = Path(name).is_dir()
        folder = Path(name).resolve() if is_local else _fetched(option, name)
        if not any(folder.glob("*.safetensors")):
            rule = "has no safetensors, and pickles are not read: name a checkpoint or a revision with safetensors"
            raise ConfigError(option, name, rule)
        version = f"{_DIGEST}{digest_of(folder)[:16]}" if is_local else f"@{folder.name}"
        found = cls(option, f"{folder.name if is_local else name.partition('@')[0]}{version}", folder)
        kind = found.config().model_type
        if kind not in kinds:
            raise found.refused(f"is a model of kind {kind}: name one of {', '.join(sorted(kinds))}")
        return found

    @property
    def words(self) -> tuple[str, str]:
        """What names it on a command line, a folder by its name alone."""
        return self.option, asked(self.identity)

    def refused(self, rule: str) -> ConfigError:
        """Says what is wrong with it, and the remedy."""
        return ConfigError(self.option, self.identity, rule)

    def config(self) -> Any:
        """Of its model."""
        return self._read("AutoConfig")

    def tokenizer(self) -> Any:
        """Of transformers, over a tokenizer of the library tokenizers."""
        tokenizer = self._read("AutoTokenizer")
        if not tokenizer.is_fast:
            raise self.refused("has no tokenizer.json: name a checkpoint that has one")
        return tokenizer

    def load(self, model_class: str) -> Any:
        """A model of that class with its weights, float32, in evaluation mode: no other row has dropout.

        Raises:
            ConfigError: Weights that the class needs are not there; a pooler is not needed.
        """
        options = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        model, found = self._read(model_class, **options)
        missing = sorted(name for name in found["missing_keys"] if not name.startswith(_UNUSED))
        if missing:
            rule = f"lacks {len(missing)} weights of {model_class}, the first is {missing[0]}: name a whole checkpoint"
            raise self.refused(rule)
        return model.eval()

    def _read(self, class_name: str, **options: Any) -> Any:
        transformers = transformers_of(self.option, self.identity)
        try:
            with _quiet(transformers):
                return getattr(transformers, class_name).from_pretrained(
                    self.folder, local_files_only=True, trust_remote_code=False, **options
                )
        except Exception as exc:  # whatever it is, the user named something that cannot be read
            rule = f"cannot be read by transformers ({type(exc).__name__}: {exc}): name a whole checkpoint"
            raise self.refused(rule) from exc


def asked(identity: str) -> str:
    """What names a checkpoint on a command line: a folder by its name alone."""
    return identity.partition(_DIGEST)[0]


def transformers_of(option: str, name: str) -> Any:
    """The package; raises ConfigError where it is not installed."""
    try:
        return importlib.import_module("transformers")
    except ModuleNotFoundError as exc:
        raise ConfigError(option, name, "needs transformers: pip install 'adavae[dev]', or leave it out") from exc


def _fetched(option: str, name: str) -> Path:
    """The folder of a checkpoint of the hub, whose name is the commit; what is here already needs no network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    hub_id, _, revision = name.partition("@")
    try:
        folder = snapshot_download(
            hub_id, revision=revision or None, allow_patterns=list(_FILES), ignore_patterns=["*/*"]
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        rule = (
            f"is no folder here and could not be fetched from the hub ({type(exc).__name__}): check the name and the "
            "network, or name a folder"
        )
        raise ConfigError(option, name, rule) from exc
    return Path(folder)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Neither reports nor bars of transformers while it lasts: what matters of them becomes an error."""
    logging = transformers.utils.logging
    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()
