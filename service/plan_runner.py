"""Carries out the plans of ``model.operations`` over engine and encoding cache, one adapter set version a plan."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from adavae.model.decoding.decoding import Decoding
from adavae.model.decoding.step_decoder import Generated
from adavae.model.operations.steps import Compute, Decode, Encode, EncodeWritten, Plan, Result, Score, Step
from adavae.model.results import DecodedText
from adavae.model.storage.tokenizer import Tokenizer
from adavae.service.adapters.registry import PinnedAdapter
from adavae.service.encodings.text_encoder import TextEncoder
from adavae.service.engine.engine import Engine
from adavae.service.engine.reservation import Reservation
from adavae.service.engine.scheduler import SHORT_ROWS
from adavae.service.engine.work import EncodedRow


class PlanRunner:
    """Does each step of a plan where it belongs: texts in the encoder, rows and sums on the device thread."""

    def __init__(
        self, engine: Engine, encoder: TextEncoder, tokenizer: Tokenizer, *, max_text_tokens: int, deadline_s: float
    ) -> None:
        """Texts that the model wrote are cut to ``max_text_tokens``; each step is given up after ``deadline_s``."""
        self._engine, self._encoder, self._tokenizer = engine, encoder, tokenizer
        self._max_text_tokens, self._deadline_s = max_text_tokens, deadline_s

    async def run(
        self, plan: Plan[Result], pinned: PinnedAdapter, reservation: Reservation | None = None, *, num_rows: int
    ) -> Result:
        """The plan's result; raises as its steps do.

        Args:
            plan: Not begun yet.
            pinned: The adapter set of its texts and latents.
            reservation: Of a request that was admitted before.
            num_rows: How many rows it is about: computations for many of them come after those for few.
        """
        try:
            step = next(plan)
            while True:
                step = plan.send(await self._done(step, pinned, reservation, num_rows))
        except StopIteration as stop:
            result: Result = stop.value
            return result
        finally:
            plan.close()

    async def _done(self, step: Step, pinned: PinnedAdapter, reservation: Reservation | None, num_rows: int) -> object:
        match step:
            case Encode(texts, params):
                rows = await self._encoder.encode(texts, pinned, truncate=False, params=params, reservation=reservation)
                return torch.stack([torch.from_numpy(row.encoding.mu.copy()) for row in rows])
            case EncodeWritten(texts):
                return await self._encoded_written(texts, pinned, reservation)
            case Decode(z, decodings):
                return await self._decoded(z, decodings, pinned, reservation)
            case Score(texts):
                ids = await self._encoder.tokens.cut(texts, self._max_text_tokens)
                return torch.from_numpy(await self._engine.score(ids, deadline_s=self._deadline_s))
            case Compute(run):
                is_long = num_rows > SHORT_ROWS
                return await self._engine.on_device(run, self._deadline_s, num_rows=num_rows, is_long=is_long)

    async def _encoded_written(
        self, texts: Sequence[str], pinned: PinnedAdapter, reservation: Reservation | None
    ) -> Tensor:
        rows = await self._encoder.tokens.cut(texts, self._max_text_tokens)
        encoded: list[EncodedRow] = []
        for part in _parts(len(rows), reservation):
            some = rows[part]
            encoded += await self._engine.encode(
                some, [pinned.slot] * len(some), deadline_s=self._deadline_s, reservation=reservation
            )
        return torch.stack([torch.from_numpy(row.mu) for row in encoded])

    async def _decoded(
        self, z: Tensor, decodings: Sequence[Decoding], pinned: PinnedAdapter, reservation: Reservation | None
    ) -> list[DecodedText]:
        latents, generated = z.numpy(), list[Generated]()
        for part in _parts(len(z), reservation):
            generated += await self._engine.decode(
                latents[part], pinned.slot, decodings[part], deadline_s=self._deadline_s, reservation=reservation
            )
        return self.texts(generated, z)

    def texts(self, generated: Sequence[Generated], z: Tensor) -> list[DecodedText]:
        """What the rows of z, (N, Z), were written as."""
        decode = self._tokenizer.decode
        return [
            DecodedText(decode(row.token_ids), len(row.token_ids), row.finish_reason, latent)
            for row, latent in zip(generated, z.numpy(), strict=True)
        ]


def _parts(num_rows: int, reservation: Reservation | None) -> Iterable[slice]:
    """What is queued at once of a step's rows: all, where room for them was reserved."""
    return [slice(num_rows)] if reservation is None else reservation.parts(num_rows)
