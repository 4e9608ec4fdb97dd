"""Continuous decoding with the rows on the device, as on a GPU: the same texts as without."""

from dataclasses import replace

import torch

from adavae.model.adavae import AdaVAE
from adavae.model.config import EncoderAttention
from adavae.model.decoding.step_decoder import Generated
from adavae.model.errors import LogitsNotFinite
from adavae.model.gpu.device_rows import DeviceRows
from adavae.model.gpu.kernels import PlainKernels
from adavae.model.gpu.packed_encoder import can_be_packed
from adavae.service.engine.decode_batch import DecodeBatch
from adavae.service.engine.scheduler import Scheduler
from adavae.service.engine.ticket import Ticket
from adavae.service.engine.work import EncodedRow, EncodeRow, EngineLimits
from adavae.service.metrics import Metrics
from tests.tiny import POOLED, PREFIXED, VARIANTS, mixed_bank, tiny_backbone
from tests.unit.service.engine.test_decode_batch import alone, in_a_loop, made_rows, run_all, vae


def device_batch(tiny: AdaVAE, max_rows: int) -> DecodeBatch:
    rows = DeviceRows(tiny, max_rows=max_rows, max_tokens=12, kernels=PlainKernels())
    return DecodeBatch(tiny, max_rows=max_rows, max_tokens=12, device_rows=rows)


def test_rows_that_join_and_leave_get_the_texts_they_get_alone() -> None:
    def check(ticket: Ticket[Generated]) -> None:
        tiny = vae()
        rows = made_rows(24, ticket)
        results = run_all(device_batch(tiny, 7), rows)
        assert results == {row.number: alone(tiny, row) for row in rows}

    in_a_loop(check)


def test_a_row_whose_logits_are_not_finite_fails_alone() -> None:
    def check(ticket: Ticket[Generated]) -> None:
        tiny = vae()
        rows = [row for row in made_rows(6, ticket) if not row.is_beam]
        rows[2].z.fill_(float("nan"))
        results = run_all(device_batch(tiny, 8), rows)
        assert isinstance(results.pop(2), LogitsNotFinite)
        assert results == {row.number: alone(tiny, row) for row in rows if row.number != 2}

    in_a_loop(check)


def test_packed_texts_get_the_encodings_of_padded_ones() -> None:
    """A set whose encoder has a prefix or is causal goes the padded way."""

    def check(ticket: Ticket[Generated]) -> None:
        causal = replace(VARIANTS[0], encoder_attention=EncoderAttention.CAUSAL)
        for configs in (VARIANTS, (VARIANTS[0], POOLED, VARIANTS[0]), (VARIANTS[0], causal)):
            bank, _ = mixed_bank(configs)
            tiny = AdaVAE(tiny_backbone(), bank)
            is_padded = PREFIXED in configs or causal in configs
            assert can_be_packed(bank, range(len(configs))) is not is_padded
            found = []
            for kernels in (None, PlainKernels()):
                work = Scheduler(tiny, EngineLimits(encode_batch_tokens=20), Metrics())
                work.kernels = kernels
                for number in range(9):
                    row = [1 + number, *range(2, 2 + number % 4)]
                    work.accept(EncodeRow(ticket, number, row, number % len(configs)))  # type: ignore[arg-type]
                done = {}
                while work.has_work:
                    done |= {number: result for _, number, result in work.step()}
                found.append(done)
            assert len(found[0]) == 9
            for number, expected in found[0].items():
                assert isinstance(expected, EncodedRow)
                torch.testing.assert_close(found[1][number].mu, expected.mu, atol=1e-5, rtol=1e-5)

    in_a_loop(check)
