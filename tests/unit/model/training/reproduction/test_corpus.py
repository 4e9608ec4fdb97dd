"""What a data set's folder gives to training, validation and test, whichever of its files there are."""

from dataclasses import replace
from pathlib import Path

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.reproduction import table1, table2
from adavae.model.training.reproduction.corpus import Corpus, Splits
from adavae.model.training.reproduction.data_folder import DataFolder
from adavae.model.training.reproduction.rows import Given
from tests.tiny_text import as_tsv, reviews, tiny_pretrained, tiny_tokenizer
from tests.unit.model.training.reproduction.tiny_reproduction import CPU, SCALE, write_folder

_FEWER = replace(SCALE, train_texts=20)
_ROWS = {row.name: row for table in (table1, table2) for row in table.rows()}


def folder_of(directory: Path, *splits: str) -> Path:
    """With these files only."""
    folder = write_folder(directory)
    for file in folder.iterdir():
        if file.name.partition(".")[0] not in splits:
            file.unlink()
    return folder


def key(text: str) -> str:
    return " ".join(text.lower().split())


@pytest.mark.parametrize("seed", range(3))
def test_a_folder_that_has_validation_texts_trains_on_what_its_training_file_gives(seed: int, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "train", "valid", "test")
    splits = Splits.read(folder, _FEWER, seed)
    assert splits.training == read_dataset(folder / "train.tsv", limit=20, seed=seed)
    assert splits.validation == read_dataset(folder / "valid.tsv", limit=SCALE.test_texts, seed=seed)
    assert splits.test == read_dataset(folder / "test.tsv", limit=SCALE.test_texts, seed=seed)
    read = Corpus.read(folder, tiny_tokenizer(), _FEWER, seed)
    assert (read.training.digest, read.validation.digest) == (splits.training.digest, splits.validation.digest)


def test_without_validation_texts_the_same_of_the_training_texts_are_held_back_at_every_seed(tmp_path: Path) -> None:
    """A data set of the hub without such a split was fetched whole, and then refused."""
    folder = folder_of(tmp_path, "train", "test")
    first, second = (Splits.read(folder, _FEWER, seed) for seed in (0, 1))
    assert first.validation.texts == second.validation.texts and len(first.validation.texts) == 12
    assert first.training.texts != second.training.texts
    whole = Splits.read(folder, replace(SCALE, train_texts=None), 0)
    assert len(whole.training.texts) == 48
    assert {*whole.training.texts, *whole.validation.texts} == set(reviews(60, 0).texts)
    for splits in (first, second, whole):
        assert len(splits.training.texts) in (20, 48)
        assert not set(splits.training.texts) & set(first.validation.texts)


def test_of_the_texts_that_are_held_back_there_are_no_more_than_are_measured(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "train", "test")
    few = [Splits.read(folder, replace(SCALE, test_texts=5), seed) for seed in (0, 1)]
    assert few[0].validation.texts == few[1].validation.texts and len(few[0].validation.texts) == 5
    assert set(few[0].validation.texts) < set(Splits.read(folder, SCALE, 0).validation.texts)
    assert few[0].training == Splits.read(folder, SCALE, 0).training  # the pool does not depend on the scale


def test_a_text_that_is_held_back_is_not_trained_on_in_another_spelling(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "train", "test")
    texts = reviews(30, 0).texts
    lines = [line for text in texts for line in (text, f"{text.upper()} ", text.replace(" ", "  "))]
    (folder / "train.tsv").unlink()
    (folder / "train.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    splits = Splits.read(folder, replace(SCALE, train_texts=None), 0)
    trained, held = ({key(text) for text in each.texts} for each in (splits.training, splits.validation))
    assert trained and held and not trained & held
    assert trained | held == {key(text) for text in texts}


def test_labels_do_not_say_what_is_held_back(tmp_path: Path) -> None:
    """Tables 1 and 2 read none, and of labels that stand once no text is to spare."""
    folder = folder_of(tmp_path, "train", "test")
    texts = reviews(60, 0).texts
    dataset = Dataset.of(texts, [str(number) for number in range(60)], "numbered")
    (folder / "train.tsv").write_text(as_tsv(dataset), encoding="utf-8")
    assert len(Splits.read(folder, SCALE, 0).validation.texts) == 12


def test_without_a_test_file_that_of_validation_is_measured_on_and_training_looks_at_others(tmp_path: Path) -> None:
    """Validation and test were one draw of one file: training had looked at what it was measured on."""
    folder = folder_of(tmp_path, "train", "valid")
    splits = Splits.read(folder, SCALE, 0)
    assert splits.test == read_dataset(folder / "valid.tsv", limit=SCALE.test_texts, seed=0)
    assert (len(splits.training.texts), len(splits.validation.texts)) == (48, 12)
    assert {*splits.training.texts, *splits.validation.texts} == set(reviews(60, 0).texts)


def test_without_either_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"yelp: has no test\.tsv or the like"):
        Splits.read(folder_of(tmp_path, "train"), SCALE, 0)


@pytest.mark.parametrize("name", ["AdaVAE", "w/ Fine-tuning", "Aggressive"])
def test_a_row_is_run_on_training_and_test_texts_alone(name: str, tmp_path: Path) -> None:
    pretrained, folder = tiny_pretrained(), folder_of(tmp_path, "train", "test")
    row = _ROWS[name]
    data = DataFolder(folder, pretrained.tokenizer, SCALE, 0)
    outcome = row.run(Given(pretrained, data, SCALE, 0, CPU, lambda *_: None))
    assert outcome.texts == Splits.read(folder, SCALE, 0).training.digest
    (folder / "valid.tsv").write_text(as_tsv(reviews(12, 1)), encoding="utf-8")
    with_valid = DataFolder(folder, pretrained.tokenizer, SCALE, 0)
    assert with_valid.files != data.files and with_valid.corpus.training.digest != outcome.texts
