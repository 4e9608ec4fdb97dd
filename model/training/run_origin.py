"""What a training run's checkpoints name as what they were trained over, so that no run goes on over another."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from adavae.model.errors import CheckpointMismatch
from adavae.model.storage.pretrained import PretrainedBackbone


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """The digests of a run's backbone and of its tokenizer."""

    backbone: str
    tokenizer: str

    @classmethod
    def of(cls, pretrained: PretrainedBackbone) -> Self:
        return cls(pretrained.digest, pretrained.tokenizer.digest)

    def check_is(self, saved: "RunOrigin", path: Path) -> None:
        """Raises CheckpointMismatch where the checkpoint at ``path``, which names ``saved``, is of another."""
        here = asdict(self)
        for what, digest in asdict(saved).items():
            if digest != here[what]:
                raise CheckpointMismatch(
                    f"{path} belongs to a run over another {what} ({digest[:12]}, here is {here[what][:12]}): choose "
                    f"that {what}, or start afresh under another name"
                )
