"""What a run is told of its data before the first step."""

from pathlib import Path

import pytest

from adavae.model.errors import DatasetError
from adavae.model.training.config import Preset, TrainingConfig
from adavae.model.training.preparation import PreparedData, TrainingRequest, prepare
from adavae.model.training.readers.columns import GUESSED, Columns
from tests.tiny import PLAIN
from tests.tiny_text import tiny_pretrained

CLASSIFYING = TrainingConfig(adapter=PLAIN, preset=Preset.CLASSIFICATION)


def test_what_is_odd_about_the_data_is_told_before_the_first_step(tmp_path: Path) -> None:
    """A label of one text was held back with it, and the run ended with a fault in a file that nobody had given."""
    data, held = tmp_path / "data.csv", tmp_path / "held.csv"
    rows = [
        f"{number},text {number},{'neg' if number < 30 else 'Pos' if number < 35 else 'pos'}" for number in range(60)
    ]
    data.write_text("\n".join(["id,text,label", *rows, "60,another,other"]), encoding="utf-8")
    held.write_text("text,label\nTEXT 3!,neg\nnew,pos\n", encoding="utf-8")
    for validation, told in (
        (None, ["not read: 'id'", "look alike"]),
        (held, ["not read", "look alike", "1 of the 2", "learns from 61, judged by 2 texts"]),
    ):
        request = TrainingRequest(name="mine", data=data, validation=validation, config=CLASSIFYING)
        prepared = prepare(request, tiny_pretrained())
        assert prepared.labels == ("Pos", "neg", "other", "pos")
        assert len(prepared.notes) == len(told)
        assert all(part in note for part, note in zip(told, prepared.notes, strict=True))


LABELLED = "body,label\n" + "".join(f"text {number},{('neg', 'pos')[number % 2]}\n" for number in range(40))


def prepared_with(
    folder: Path, preset: Preset, held: tuple[str, str], columns: Columns = GUESSED, data: str = LABELLED
) -> PreparedData:
    """Of a table and a validation file, given by name and content."""
    (folder / "data.csv").write_text(data, encoding="utf-8")
    (folder / held[0]).write_text(held[1], encoding="utf-8")
    request = TrainingRequest(
        name="mine",
        data=folder / "data.csv",
        validation=folder / held[0],
        config=TrainingConfig(adapter=PLAIN, preset=preset),
        columns=columns,
        truncate=True,
    )
    return prepare(request, tiny_pretrained())


@pytest.mark.parametrize("preset", [Preset.CLASSIFICATION, Preset.GENERATION])
def test_validation_texts_may_all_have_one_label_of_the_training_texts(tmp_path: Path, preset: Preset) -> None:
    """They were refused, as if the head learned from them."""
    held = ("held.csv", "body,label\nnew one,pos\nnew two,pos\n")
    prepared = prepared_with(tmp_path, preset, held, Columns(text="body"))
    assert prepared.labels == ("neg", "pos")
    assert prepared.validation.labels == ("pos", "pos")


def test_a_head_is_not_judged_on_validation_texts_without_labels(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"held\.csv: has no labels, and labels are needed here"):
        prepared_with(tmp_path, Preset.GENERATION, ("held.csv", "body\nnew one\nnew two\n"), Columns(text="body"))


@pytest.mark.parametrize("held", [("held.csv", "body\nnew one\nnew two\n"), ("held.txt", "new one\nnew two\n")])
def test_without_a_head_validation_texts_need_neither_labels_nor_columns(tmp_path: Path, held: tuple[str, str]) -> None:
    """Labels were demanded that language modelling drops, and of plain text to leave out what the table needs."""
    prepared = prepared_with(tmp_path, Preset.LANGUAGE_MODELLING, held, Columns(text="body"))
    assert prepared.labels == ()
    assert prepared.validation.texts == ("new one", "new two")


ONE_LABEL = LABELLED.replace("neg", "pos")


def test_texts_of_one_label_are_trained_on_without_a_head(tmp_path: Path) -> None:
    """The run ended after the data were tokenized, and nothing said what to do."""
    held = ("held.csv", "body,label\nnew one,pos\nnew two,other\n")
    prepared = prepared_with(tmp_path, Preset.GENERATION, held, Columns(text="body"), ONE_LABEL)
    assert prepared.labels == ()
    assert prepared.training_tokens.label_ids is None
    assert any("every text has the label 'pos': trained without a head" in note for note in prepared.notes)
    more = ("held.csv", "body,label\n" + "".join(f"other {number},pos\n" for number in range(10)))
    silent = prepared_with(tmp_path, Preset.LANGUAGE_MODELLING, more, Columns(text="body"), ONE_LABEL)
    assert silent.notes == ()


def test_of_texts_too_few_to_judge_by_it_is_told(tmp_path: Path) -> None:
    """Two rows made a set that was worth nothing, without a word."""
    (tmp_path / "data.txt").write_text("one text\nanother one\n", encoding="utf-8")
    config = TrainingConfig(adapter=PLAIN, preset=Preset.GENERATION)
    request = TrainingRequest(name="mine", data=tmp_path / "data.txt", validation=None, config=config)
    (note,) = prepare(request, tiny_pretrained()).notes
    assert note.startswith("learns from 1, judged by 1 text: ")


def test_a_classifier_of_texts_of_one_label_is_refused_with_the_remedy(tmp_path: Path) -> None:
    remedy = r"a head needs at least 2: add texts of another label, or train without one \(--preset generation\)"
    with pytest.raises(DatasetError, match=rf"data\.csv: every text has the label 'pos', {remedy}"):
        prepared_with(tmp_path, Preset.CLASSIFICATION, ("held.txt", "a\nb\n"), Columns(text="body"), ONE_LABEL)


def test_texts_that_differ_where_they_are_no_longer_read_are_refused_before_training(tmp_path: Path) -> None:
    """They were trained on to the end, and then z said nothing of them: to lower beta was the advice."""
    shared = "a licence that stands above every file. " * 20
    data = "text\n" + "".join(f"{shared}{number}\n" for number in range(30))
    with pytest.raises(DatasetError, match=r"data.csv: all texts are the same as far as they are read, their first 39"):
        prepared_with(tmp_path, Preset.GENERATION, ("held.csv", f"text\n{shared}new\n{shared}old\n"), data=data)


def test_copies_of_one_text_are_refused_beside_a_validation_file_too(tmp_path: Path) -> None:
    copies = "text\n" + "ok then\n" * 30
    with pytest.raises(DatasetError, match=r"data.csv: all texts are copies of one: add others"):
        prepared_with(tmp_path, Preset.GENERATION, ("held.csv", "text\nok then\nok then\n"), data=copies)
