"""What a run is told of its data before the first step."""

from pathlib import Path

from adavae.model.training.config import Preset, TrainingConfig
from adavae.model.training.preparation import TrainingRequest, prepare
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
        (held, ["not read", "look alike", "1 of the 2"]),
    ):
        request = TrainingRequest(name="mine", data=data, validation=validation, config=CLASSIFYING)
        prepared = prepare(request, tiny_pretrained())
        assert prepared.labels == ("Pos", "neg", "other", "pos")
        assert len(prepared.notes) == len(told)
        assert all(part in note for part, note in zip(told, prepared.notes, strict=True))
