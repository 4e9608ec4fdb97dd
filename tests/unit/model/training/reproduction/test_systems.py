"""Every system of Tables 1 and 2 trains, gets better than it began, and answers the one measure."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adavae.model.config import AdapterConfig
from adavae.model.training.config import Preset, preset_config
from adavae.model.training.reproduction import table1, table2, untrained_row
from adavae.model.training.reproduction.adavae_rows import train_adavae
from adavae.model.training.reproduction.corpus import TestTexts
from adavae.model.training.reproduction.measuring import Draws, measured, reconstruction
from adavae.model.training.reproduction.rows import Row
from adavae.model.training.reproduction.systems.trained_adavae import TrainedAdaVAE
from tests.unit.model.training.reproduction.tiny_reproduction import CPU, SCALE, tiny_setting


def _rows() -> Iterator[tuple[str, Row]]:
    for table in (table1, table2):
        for row in table.rows():
            is_chosen = not row.name.startswith(("Optimus", "AdaVAE 0")) or "0.50" in row.name
            if is_chosen and isinstance(row, Row) and row.name != untrained_row.NAME:
                yield f"{table.__name__.rpartition('.')[2]} {row.name}", row


@pytest.mark.parametrize("row", [row for _, row in _rows()], ids=[name for name, _ in _rows()])
def test_a_system_trains_and_is_measured(row: Row, tmp_path: Path) -> None:
    if row.name.startswith("T5"):
        pytest.importorskip("transformers")
    losses: list[float] = []
    setting = replace(tiny_setting(tmp_path, replace(SCALE, steps=24)), on_step=lambda *step: losses.append(step[2]))
    trained = row.train(setting)
    assert len(losses) == 24
    assert min(losses[1:]) < losses[0]  # AE-BP raises the bound later, when the KL comes in
    texts = TestTexts.of(setting.corpus.test, setting.corpus.tokenizer, 30)
    figures, _ = measured(trained.model, texts, texts, texts, Draws(3, 12), CPU)
    untrained = row.train(replace(setting, scale=replace(SCALE, steps=0))).model
    assert len(losses) == 24  # nothing was trained
    assert figures.reconstruction < reconstruction(untrained, texts, CPU, 0)
    assert 1 < figures.ppl_token < 1e6 and figures.ppl_word > figures.ppl_token
    has_latent = row.name not in ("GPT-2", "GPT-2, adapters", "LSTM-LM")
    assert (figures.mi is not None) is has_latent
    if has_latent:
        assert figures.au is not None and 0 <= figures.au <= 3
        assert figures.kl is not None and figures.kl >= 0


def test_adapters_leave_the_backbone_as_it_is_and_fine_tuning_works_on_a_copy(tmp_path: Path) -> None:
    setting = tiny_setting(tmp_path)
    before = {name: tensor.clone() for name, tensor in setting.pretrained.backbone.state_dict().items()}
    by_name = {row.name: row for table in (table1, table2) for row in table.rows() if isinstance(row, Row)}
    for name in ("AdaVAE", "w/ Fine-tuning", "GPT-2", "Optimus 0.50"):
        by_name[name].train(setting)
    after = setting.pretrained.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_share_that_trains_is_told_as_the_paper_tells_it(tmp_path: Path) -> None:
    setting = tiny_setting(tmp_path)
    rows = [row for row in table2.rows() if isinstance(row, Row) and row.name.startswith("GPT-2")]
    shares = {row.name: row.train(setting).share_percent for row in rows}
    assert shares["GPT-2"] == 100.0
    adapters = shares["GPT-2, adapters"]
    assert adapters is not None and 0 < adapters < 50
    assert shares[untrained_row.NAME] == 0.0


def test_fine_tuning_has_no_adapters_and_its_decoder_waits_as_long_as_adapters_do(tmp_path: Path) -> None:
    """Its latent parts learned at a sixtieth of the rate that those of every other row have."""
    setting = tiny_setting(tmp_path)
    tuned = train_adavae(setting, AdapterConfig(), is_full_fine_tuning=True)
    whole = train_adavae(setting, AdapterConfig())
    adapters = train_adavae(setting, AdapterConfig(), has_decoder_adapters=False)
    num_layers = len(setting.pretrained.backbone.blocks)
    encoder_layers = preset_config(Preset.LANGUAGE_MODELLING, setting.pretrained.backbone.config).adapter.encoder_layers
    of_decoder = whole.trained_parameters - adapters.trained_parameters
    of_both = of_decoder + of_decoder * (encoder_layers or num_layers) // num_layers
    backbone = setting.pretrained.backbone
    both = 2 * backbone.num_parameters
    unused = sum(each.numel() for block in backbone.blocks[encoder_layers:] for each in block.parameters())
    assert tuned.trained_parameters == both - unused + whole.trained_parameters - of_both
    assert tuned.share_percent == pytest.approx(100.0 * tuned.trained_parameters / both)
    (tmp_path / "again").mkdir()
    one_step = tiny_setting(tmp_path / "again", replace(SCALE, steps=1))
    model = train_adavae(one_step, AdapterConfig(), is_full_fine_tuning=True).model
    before = one_step.pretrained.backbone.state_dict()
    assert isinstance(model, TrainedAdaVAE)
    assert all(torch.equal(before[name], after) for name, after in model.vae.backbone.state_dict().items())


def test_without_decoder_adapters_the_decoder_has_nothing_but_z(tmp_path: Path) -> None:
    setting = tiny_setting(tmp_path)
    plain = train_adavae(setting, AdapterConfig(), has_decoder_adapters=False)
    whole = train_adavae(setting, AdapterConfig())
    layers, C = len(setting.pretrained.backbone.blocks), setting.pretrained.backbone.config.n_embd
    A = AdapterConfig().adapter_size * C // 768
    of_a_block = C * A + A + A * C + C
    assert whole.trained_parameters - plain.trained_parameters == layers * of_a_block


def test_a_row_gives_the_same_figures_twice(tmp_path: Path) -> None:
    row = next(row for row in table2.rows() if isinstance(row, Row) and row.name == "C. A.")
    setting = tiny_setting(tmp_path)
    texts = TestTexts.of(setting.corpus.test, setting.corpus.tokenizer, 30)
    one, other = (measured(row.train(setting).model, texts, texts, texts, Draws(3, 12), CPU) for _ in range(2))
    assert one == other
