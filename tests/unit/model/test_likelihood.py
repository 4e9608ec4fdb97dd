"""Nats per token by the bare backbone, against its own logits."""

import torch
from torch.nn import functional as F

from adavae.model import likelihood
from tests.tiny import TINY, tiny_backbone

ROWS = [[5, 9, 7, 3], [8], [4, 4, 6, 7, 9, 11, 2]]


def test_it_is_the_mean_cross_entropy_of_tokens_and_end() -> None:
    backbone, eos = tiny_backbone(), TINY.eos_token_id
    nats = likelihood.nats_per_token(backbone, ROWS)
    for nats_of_row, row in zip(nats, ROWS, strict=True):
        logits = backbone(torch.tensor([[eos, *row]]))[0]
        torch.testing.assert_close(
            nats_of_row, F.cross_entropy(logits, torch.tensor([*row, eos])), atol=1e-5, rtol=1e-5
        )


def test_a_text_is_scored_alike_in_any_company() -> None:
    backbone = tiny_backbone()
    together = likelihood.nats_per_token(backbone, ROWS * 200)  # more tokens than one slice of logits holds
    alone = torch.cat([likelihood.nats_per_token(backbone, [row]) for row in ROWS])
    torch.testing.assert_close(together, alone.repeat(200), atol=1e-5, rtol=1e-5)
