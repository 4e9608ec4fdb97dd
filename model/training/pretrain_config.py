"""The settings of a pretraining run, each checked where it is given."""

from dataclasses import dataclass

from adavae.model.config import BackboneConfig
from adavae.model.errors import ConfigError
from adavae.model.training.config import Precision

SMALL_GPT2 = BackboneConfig(vocab_size=12_288, n_positions=256, n_embd=384, n_layer=6, n_head=6, n_inner=1536)

_BYTES_AND_END = 257  # the smallest byte-level vocabulary: every byte and end-of-text
_LIMITS: dict[str, tuple[float, float]] = {
    "epochs": (0.001, 10_000),
    "batch_size": (1, 65_536),
    "window": (2, 1_000_000),
    "long_window": (2, 1_000_000),
    "long_share": (0.0, 1.0),
    "learning_rate": (1e-7, 1.0),
    "weight_decay": (0.0, 10.0),
    "dropout": (0.0, 0.9),
    "masked_share": (0.0, 0.9),
    "mask_rate": (0.01, 0.9),
    "warmup_steps": (0, 1_000_000),
    "max_gradient_norm": (1e-3, 1e3),
    "checkpoint_every": (1, 1_000_000),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainConfig:
    """Every setting of one run.

    Attributes:
        backbone: Shape of a fresh model, its ``vocab_size`` the size of the tokenizer to train; None for a small GPT-2,
            or for the shape of the checkpoint that the run starts from.
        epochs: Passes over the stream; fractions allowed.
        max_steps: Stops earlier than ``epochs`` would; None for no such bound.
        batch_size: Short windows per step; a step of long windows has the same number of tokens.
        window: Tokens per window.
        long_window: Tokens per window in the last ``long_share`` of the steps.
        learning_rate: Peak learning rate, for Muon and AdamW alike.
        warmup_steps: Steps until the peak; at most a third of the run.
        weight_decay: Of the blocks' matrices; half of it for embeddings, none for norms and biases.
        dropout: Of the embeddings and of what each branch of a block adds, in training.
        masked_share: Share of a step's windows in which hidden tokens are predicted from both sides, as AdaVAE's
            encoder reads; in the others, next tokens. 0 trains a causal model alone.
        mask_rate: Share of such a window's tokens that are hidden.
        is_separate: Texts do not attend to each other; False treats the stream as one long text.
        max_gradient_norm: Gradients are clipped to this norm.
        checkpoint_every: Steps between checkpoints.
    """

    backbone: BackboneConfig | None = None
    epochs: float = 1.0
    max_steps: int | None = None
    batch_size: int = 128
    window: int = 128
    long_window: int = 256
    long_share: float = 0.15
    learning_rate: float = 3e-3
    weight_decay: float = 0.4
    dropout: float = 0.0
    masked_share: float = 0.0
    mask_rate: float = 0.25
    is_separate: bool = True
    warmup_steps: int = 100
    max_gradient_norm: float = 1.0
    checkpoint_every: int = 200
    precision: Precision = Precision.AUTO
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(name, value, f"must be in [{low:g}, {high:g}]")
        if self.max_steps is not None and self.max_steps < 1:
            raise ConfigError("max_steps", self.max_steps, "must be at least 1")
        if self.window > self.long_window:
            raise ConfigError("window", self.window, f"must be at most long_window ({self.long_window})")
        if self.backbone is not None:
            self._check_shape(self.backbone)

    def _check_shape(self, shape: BackboneConfig) -> None:
        if shape.vocab_size < _BYTES_AND_END:
            raise ConfigError("vocab_size", shape.vocab_size, f"must be at least {_BYTES_AND_END}: bytes, end of text")
        if shape.eos_token_id != 0:
            raise ConfigError("eos_token_id", shape.eos_token_id, "must be 0 in a fresh model")
        self.check_context(shape)

    def check_context(self, shape: BackboneConfig) -> None:
        """Raises ConfigError if a window does not fit the context."""
        if self.long_window > shape.n_positions:
            raise ConfigError("long_window", self.long_window, f"must be at most n_positions ({shape.n_positions})")
