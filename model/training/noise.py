"""The random numbers of one micro-batch, drawn before it is computed, so that its rows can be computed apart.

They depend on the step and on the micro-batch, never on how many processes share its rows.
"""

from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What is random about each row; None where the objective disturbs nothing there.

    Attributes:
        epsilon: Of z, standard normal, (B, Z).
        form: Whether the encoder reads another form, uniform in [0, 1), (B, 1).
        deletion_rate: The row's share of the largest rate of deletions, uniform in [0, 1), (B, 1).
        deletion: Whether a token is deleted from the encoder's input, uniform in [0, 1), (B, T).
        word: Whether a token is hidden from the decoder, uniform in [0, 1), (B, W).
    """

    epsilon: Tensor
    form: Tensor | None = None
    deletion_rate: Tensor | None = None
    deletion: Tensor | None = None
    word: Tensor | None = None

    def rows(self, chosen: range) -> Self:
        """Those of some rows."""
        places = slice(chosen.start, chosen.stop, chosen.step)
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        values: dict[str, Any] = {name: None if value is None else value[places] for name, value in given.items()}
        return type(self)(**values)


def uniform(num_rows: int, num_columns: int, generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1), (B, columns), on the generator's device."""
    return torch.rand(num_rows, num_columns, generator=generator, device=generator.device)
