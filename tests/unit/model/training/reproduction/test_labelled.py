"""Table 3 and Figure 1: what is read, what trains, that it learns, and how seeds become mean and deviation."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor

from adavae.model.backbone import Backbone
from adavae.model.config import GPT2_124M
from adavae.model.errors import DatasetError
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction import accuracy_table, figure1, labelled_rows, precision, table3
from adavae.model.training.reproduction.data_folder import DataFolder
from adavae.model.training.reproduction.grid import Cell, Grid, begin
from adavae.model.training.reproduction.labelled_corpus import LabelledCorpus
from adavae.model.training.reproduction.labelled_rows import (
    ClassifierProcedure,
    LabelledRow,
    accuracy,
    adavae_tuned,
    train_classifier,
)
from adavae.model.training.reproduction.paper_figures import TABLE_3, TABLE_3_SHARES
from adavae.model.training.reproduction.rows import Given
from adavae.model.training.reproduction.scale import SCALES, Scale, ScaleName
from adavae.model.training.reproduction.systems.classifiers import UnmaskedClassifier
from tests.tiny_text import as_tsv, reviews, tiny_pretrained, tiny_tokenizer
from tests.unit.model.training.reproduction.tiny_reproduction import CPU, SCALE, a_cell, write_folder

_BERT_BASE = 108_310_272  # parameters of the cased one, its pooler included
BRIEF = replace(SCALE, steps=3, least_label_steps=3, batch_size=20)
LEARNS = replace(BRIEF, steps=40, least_label_steps=40)
ROWS = {row.name: row for row in table3.rows()}


def given(directory: Path, scale: Scale = BRIEF, seed: int = 0) -> Given:
    pretrained = tiny_pretrained()
    folder = directory / "yelp"
    data = DataFolder(folder if folder.is_dir() else write_folder(directory), pretrained.tokenizer, scale, seed)
    return Given(pretrained, data, scale, seed, CPU, lambda *_: None)


def write_pairs(directory: Path) -> Path:
    folder = directory / "wnli"
    folder.mkdir()
    lines = [f"{label}\tthe food was {word} .\tit was {word} ." for label, word in (("no", "bad"), ("yes", "good")) * 8]
    for split in ("train", "valid"):
        (folder / f"{split}.tsv").write_text("label\ttext\ttext_pair\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_a_system_learns_labels_from_what_it_may_train(row: LabelledRow, tmp_path: Path) -> None:
    losses: list[float] = []
    cell = replace(given(tmp_path, LEARNS), on_step=lambda *step: losses.append(step[2]))
    before = {name: tensor.clone() for name, tensor in cell.pretrained.backbone.state_dict().items()}
    outcome = row.run(cell)
    assert sum(losses[-10:]) < sum(losses[-40:-30])  # the last 40 are the classifier's
    assert 0.0 <= outcome.figures["accuracy"] <= 1.0
    assert outcome.figures["num_texts"] == 12 and outcome.figures["num_labels"] == 60
    assert outcome.figures["num_pool_texts"] == 12
    after = cell.pretrained.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_share_that_trains_grows_with_sigma_and_features_have_none(tmp_path: Path) -> None:
    shares = {name: row.run(given(tmp_path)).share_percent for name, row in ROWS.items() if "Optimus" not in name}
    assert shares["BERT, features"] is None and shares["AdaVAE, features"] is None
    assert shares["AdaVAE, fine-tuning"] == shares["BERT, fine-tuning"] == 100.0
    for system in ("BERT", "AdaVAE"):
        small, large = shares[f"{system}, sigma 128"], shares[f"{system}, sigma 512"]
        assert small is not None and large is not None and 0 < small < large


def test_a_frozen_encoder_trains_nothing_but_its_head(tmp_path: Path) -> None:
    cell = given(tmp_path)
    width, labels = cell.pretrained.backbone.config.n_embd, 2
    for name in ("BERT, features", "Optimus (VAE), features", "AdaVAE, features"):
        assert ROWS[name].run(cell).trained_parameters == width * labels + labels


@pytest.mark.parametrize("name", ["BERT, features", "AdaVAE, features", "Optimus (VAE), features"])
def test_a_frozen_encoder_reads_each_text_once_and_the_head_learns_as_if_it_read_all_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def heads() -> tuple[Tensor, int]:
        cell = given(tmp_path, replace(BRIEF, steps=9, least_label_steps=9))
        corpus = cell.data.labelled
        beginning = ROWS[name].begin(cell, corpus)
        read: list[int] = []
        encode = beginning.model.features
        monkeypatch.setattr(beginning.model, "features", lambda batch: read.append(len(batch)) or encode(batch))
        torch.manual_seed(0)
        torch.nn.init.normal_(beginning.model.head.weight)
        train_classifier(beginning, corpus, cell)
        return beginning.model.head.weight.detach(), sum(read)

    once, num_once = heads()
    monkeypatch.setattr(labelled_rows, "EncodedOnce", lambda model: model)
    again, num_again = heads()
    assert (num_once, num_again) == (60, 9 * 20)
    torch.testing.assert_close(once, again, rtol=0, atol=2e-4)  # of 9e-3: Adam makes small sums large


def test_a_pair_is_one_text_with_end_of_text_between(tmp_path: Path) -> None:
    corpus = LabelledCorpus.read(write_pairs(tmp_path), tiny_tokenizer(), SCALE, 0)
    tokenizer = tiny_tokenizer()
    first, second = tokenizer.encode_many(["the food was bad .", "it was bad ."])
    assert corpus.labels == ("no", "yes")
    assert list(corpus.training.token_ids[0]) == [*first, tokenizer.eos_token_id, *second]
    assert len(corpus.test.token_ids) == 12  # of the 16 in valid, since there is no test
    assert corpus.test_dataset.rows_there == 16


def test_labels_that_training_lacks_are_named(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path)
    (folder / "valid.tsv").write_text("label\ttext\ttext_pair\nmaybe\tone .\ttwo .\nno\tone .\ttwo .\n")
    with pytest.raises(DatasetError, match=r"wnli: the test texts have labels .* lack: .'maybe'"):
        LabelledCorpus.read(folder, tiny_tokenizer(), SCALE, 0)


def test_few_labels_are_as_many_of_each_and_depend_on_the_seed(tmp_path: Path) -> None:
    corpus = LabelledCorpus.read(write_folder(tmp_path), tiny_tokenizer(), SCALE, 0)
    few = corpus.few(10, seed=3)
    assert sorted(few.training.label_ids or []) == [0] * 5 + [1] * 5
    assert list(few.training.token_ids) == list(corpus.few(10, seed=3).training.token_ids)
    assert list(few.training.token_ids) != list(corpus.few(10, seed=4).training.token_ids)
    assert corpus.few(1000, seed=0) is corpus


def test_a_point_of_the_figure_has_its_labels_and_the_bound_of_the_scale_leaves_points_out(tmp_path: Path) -> None:
    rows = {row.name: row for row in figure1.rows(SCALE)}
    assert {name.partition(", ")[2] for name in rows} == {"10 labels", "all labels"}
    assert rows["AdaVAE PE, 10 labels"].run(given(tmp_path)).figures["num_labels"] == 10
    assert len(list(figure1.rows())) == 5 * len(figure1.SYSTEMS)


def test_a_point_of_more_labels_than_the_data_have_is_left_out(tmp_path: Path) -> None:
    """It was run on what there was, and its row said 100 labels of 60 texts."""
    rows, folder = list(figure1.rows(SCALES[ScaleName.SMOKE])), write_folder(tmp_path)
    grid = Grid("figure1", rows, [folder, tmp_path / "nowhere"], ScaleName.SMOKE, (0, 1), tmp_path)
    there = {task.row.name for task in grid.tasks() if task.folder == folder}
    assert there == {figure1.row_name(system, 10) for system in figure1.SYSTEMS}
    assert len(grid.tasks()) == 2 * len(there) + 2 * len(rows)  # what cannot be read is told when it is
    of_many = [row for row in rows if "100" in row.name]
    with pytest.raises(DatasetError, match="no data set has as many training texts as the rows"):
        begin(Grid("figure1", of_many, [folder], ScaleName.SMOKE, (0,), tmp_path))
    (folder / "train.tsv").write_text(as_tsv(reviews(100, 0)), encoding="utf-8")
    assert len([task for task in grid.tasks() if task.folder == folder]) == 2 * len(rows)


def test_every_row_of_the_paper_is_run() -> None:
    for rows in TABLE_3.values():
        assert set(rows) <= set(ROWS)
    assert set(TABLE_3_SHARES) < set(ROWS)
    assert TABLE_3["yelp"]["BERT, features"].is_at_most and not TABLE_3["sst2"]["BERT, features"].is_at_most
    assert "Optimus (AE), features" not in TABLE_3["yelp"]


def cell(row: str, seed: int, accuracy: float) -> Cell:
    figures = {"accuracy": accuracy, "commonest": 0.5, "num_labels": 60, "num_texts": 12}
    return a_cell("table3", row, seed, **figures)


def test_seeds_become_mean_and_deviation_beside_the_paper() -> None:
    cells = [cell("BERT, features", seed, accuracy) for seed, accuracy in enumerate((0.7, 0.8, 0.9))]
    (record,) = accuracy_table.records(cells)
    assert record["accuracy"] == pytest.approx(0.8) and record["deviation"] == pytest.approx(0.1)
    assert record["seeds"] == [0, 1, 2] and record["paper_accuracy"] == 0.88
    assert "| BERT, features | 0.800 (≤ 0.880) | 0.100 | 3 | 60 | 2.50 (-) | w |" in accuracy_table.markdown(cells)
    assert accuracy_table.records(cells[:1])[0]["deviation"] is None


def test_rows_that_begin_alike_train_their_beginning_once_and_end_as_alone(tmp_path: Path) -> None:
    names, steps = ("Optimus (VAE), features", "Optimus (VAE), fine-tuning"), []
    shared = replace(given(tmp_path), on_step=lambda *step: steps.append(step))
    together = [ROWS[name].run(shared) for name in names]
    assert len(steps) == 3 * BRIEF.steps  # the bound once, and two heads
    alone = [ROWS[name].run(given(tmp_path)) for name in names]
    assert together == alone


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.shared])
def test_seeds_begin_with_one_model_of_the_texts_and_draw_heads_of_their_own(name: str, tmp_path: Path) -> None:
    steps: list[tuple[int, int, float]] = []
    first = replace(given(tmp_path), on_step=lambda *step: steps.append(step))
    second = first.at_seed(1)
    cells = [ROWS[name].begin(each, each.data.labelled) for each in (first, second)]
    assert len(steps) == BRIEF.steps  # the bound, once
    tensors = [cell.model.state_dict() for cell in cells]
    assert all(torch.equal(tensors[0][key], tensors[1][key]) == (not key.startswith("head")) for key in tensors[0])
    assert ROWS[name].run(second) == ROWS[name].run(given(tmp_path, seed=1))


@pytest.mark.parametrize(
    ("name", "random"),
    [
        ("AdaVAE, fine-tuning", ("head", "model.vae.bank.latent_attention", "model.vae.bank.posterior")),
        ("AdaVAE, sigma 128", ("",)),
        ("BERT, fine-tuning", ("head",)),
        ("BERT, features", ("head",)),
        ("Optimus (VAE), fine-tuning", ("head",)),
    ],
)
def test_what_begins_random_learns_faster_than_what_was_pretrained(
    name: str, random: tuple[str, ...], tmp_path: Path
) -> None:
    """Fine-tuning taught the head, latent attention and the layer to mu at the rate of pretrained weights."""
    cell = given(tmp_path)
    beginning = ROWS[name].begin(cell, cell.data.labelled)
    rates = {
        id(each): group["lr"]
        for group in ClassifierProcedure(beginning).optimizer.param_groups
        for each in group["params"]
    }
    found = {name: rates[id(each)] for name, each in beginning.model.named_parameters() if id(each) in rates}
    assert found == {each: 1e-3 if each.startswith(random) else 1e-4 for each in found}
    assert set(found.values()) == ({1e-3} if "fine-tuning" not in name else {1e-3, 1e-4})


@pytest.mark.parametrize(("adapter_size", "percent"), [(128, 4.41), (512, 17.49)])
def test_what_trains_in_berts_place_is_what_the_paper_counts(adapter_size: int, percent: float) -> None:
    """One adapter a block and no layer norm were half of it."""
    with torch.device("meta"):
        backbone = Backbone(GPT2_124M)
        model = UnmaskedClassifier(backbone, 2, adapter_size)
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert 100 * trained / _BERT_BASE == pytest.approx(percent, abs=0.005)
    of_gpt2 = 100 * trained / backbone.num_parameters
    assert of_gpt2 == pytest.approx({128: 3.84, 512: 15.22}[adapter_size], abs=0.005)


def test_the_layer_norms_in_berts_place_train_and_nothing_else_of_the_backbone(tmp_path: Path) -> None:
    cell = given(tmp_path)
    model = ROWS["BERT, sigma 128"].begin(cell, cell.data.labelled).model
    assert isinstance(model, UnmaskedClassifier)
    trained = {name for name, each in model.backbone.named_parameters() if each.requires_grad}
    layers = range(len(model.backbone.blocks))
    norms = {f"blocks.{layer}.ln_{n}.{part}" for layer in layers for n in (1, 2) for part in ("weight", "bias")}
    assert trained == norms
    assert all(len(layer.placed) == 2 for layer in model.adapters)


def test_the_labels_that_are_told_are_those_that_training_read(tmp_path: Path) -> None:
    """All labels there are were told, where the updates ended long before the last of them."""
    two_steps = replace(BRIEF, steps=2, least_label_steps=2)
    outcome = ROWS["BERT, features"].run(given(tmp_path, two_steps))
    assert outcome.figures["num_labels"] == 2 * two_steps.batch_size < 60


def test_figure_1_has_no_number_of_labels_that_the_scale_comes_not_to_read() -> None:
    """All 40,000 labels at scale cpu were the same training as 10,000."""
    counts = {
        name: [row.name.partition(", ")[2] for row in figure1.rows(scale) if row.name.startswith("BERT PE")]
        for name, scale in SCALES.items()
    }
    assert counts == {
        "smoke": ["10 labels", "100 labels"],
        "cpu": ["10 labels", "100 labels", "1,000 labels", "10,000 labels"],
        "paper": ["10 labels", "100 labels", "1,000 labels", "10,000 labels", "all labels"],
    }


def test_accuracy_is_measured_in_the_numbers_that_training_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was measured in float32, whatever the processor multiplies and the README says."""
    monkeypatch.setattr(precision, "uses_bfloat16", lambda *_: True)
    cell, kinds = given(tmp_path), []
    model = ROWS["BERT, features"].begin(cell, cell.data.labelled).model
    logits = model.logits

    def heard(batch: TextBatch) -> torch.Tensor:
        found = logits(batch)
        kinds.append(found.dtype)
        return found

    monkeypatch.setattr(model, "logits", heard)
    accuracy(model, cell.data.labelled, CPU)
    assert set(kinds) == {torch.bfloat16}


@pytest.mark.parametrize(("adapter_size", "percent", "of_paper"), [(128, 2.88, 2.90), (512, 7.79, 7.82)])
def test_both_heads_of_the_posterior_are_counted_as_the_paper_counts_them(
    adapter_size: int, percent: float, of_paper: float
) -> None:
    """With the layer to mu alone it was 2.26 and 7.18."""
    with torch.device("meta"):
        pretrained = cast(PretrainedBackbone, SimpleNamespace(backbone=Backbone(GPT2_124M).requires_grad_(False)))
        data, corpus = cast(DataFolder, None), cast(LabelledCorpus, SimpleNamespace(labels=("bad", "good")))
        cell = Given(pretrained, data, SCALES[ScaleName.PAPER], 0, torch.device("meta"), lambda *_: None)
        beginning = adavae_tuned(cell, corpus, adapter_size)
    assert beginning.share == pytest.approx(percent, abs=0.005)
    counted = beginning.trained_parameters + beginning.counted_beside
    of_layer_norms = 8 * 2 * 2 * 768
    assert 100 * (counted + of_layer_norms) / beginning.original_parameters == pytest.approx(of_paper, abs=0.005)


def test_a_test_file_of_one_label_is_enough_to_measure_on(tmp_path: Path) -> None:
    """It was refused with advice about another command."""
    folder = write_pairs(tmp_path)
    (folder / "test.tsv").write_text(
        "label\ttext\ttext_pair\nno\tit was bad .\tso .\nno\tit was .\tbad .\n", encoding="utf-8"
    )
    corpus = LabelledCorpus.read(folder, tiny_tokenizer(), SCALE, 0)
    assert corpus.test.label_ids == [0, 0] and corpus.labels == ("no", "yes")
