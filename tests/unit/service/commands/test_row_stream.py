"""Many rows: out as they are done, into files of every kind, and nothing lost on the way."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from torch import Tensor

from adavae.model.errors import DatasetError
from adavae.model.results import Classified, DecodedText
from adavae.model.text_model import Encoded
from adavae.service.commands.interrupt import to_its_end
from adavae.service.commands.source import arriving_lines
from tests.pipe import piped
from tests.unit.service.commands.conftest import FakeTextModel
from tests.unit.service.conftest import RunCommand

ENDINGS = ("csv", "jsonl", "npy", "parquet")
SIZE = 3


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adavae.service.commands.input._TEXT_ROWS", SIZE)
    monkeypatch.setattr("adavae.service.commands.input._VECTOR_ROWS", SIZE)
    monkeypatch.setattr("adavae.service.commands.analogy._LEAST_BATCH", SIZE)
    monkeypatch.setattr("adavae.service.commands.analogy._SHARE", 0)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    file = tmp_path / "texts.txt"
    file.write_text("".join(f'text "{"x" * number}", {number}\n' for number in range(10)), encoding="utf-8")
    return file


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    file = tmp_path / "vectors.jsonl"
    file.write_text("".join(f"[{number}, 0.5]\n" for number in range(10)), encoding="utf-8")
    return file


def command_of(kind: str, texts: Path, vectors: Path) -> list[str]:
    return {
        "encode": ["encode", "--file", str(texts)],
        "classify": ["classify", "--file", str(texts)],
        "decode": ["decode", "--file", str(vectors)],
        "samples": ["decode", "--samples", "10"],
        "analogy": ["analogy", "a", "b", "--c-file", str(texts), "-n", "2", "--strategy", "sample"],
    }[kind]


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file; of a matrix, its rows."""
    if path.suffix == ".npy":
        return [{"row": row} for row in np.load(path, allow_pickle=False).tolist()]
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]


KINDS = ("encode", "classify", "decode", "samples", "analogy")


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_in_order_and_all_of_them(run_command: RunCommand, texts: Path, vectors: Path, kind: str) -> None:
    outcome = run_command(*command_of(kind, texts, vectors))
    records = [json.loads(line) for line in outcome.out.splitlines()]
    num = 20 if kind == "analogy" else 10
    assert [record["index"] for record in records] == list(range(num))
    stage = "decode" if kind == "samples" else kind
    assert outcome.err == ("" if kind == "decode" else f"{stage} {num}/{num}\n")  # lines of JSON are not counted first


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_every_kind_holds_what_would_be_shown(
    run_command: RunCommand, tmp_path: Path, texts: Path, vectors: Path, kind: str, ending: str
) -> None:
    command = command_of(kind, texts, vectors)
    with_z = [] if kind in ("encode", "classify") else ["--with-z"]
    shown = [json.loads(line) for line in run_command(*command, *with_z).out.splitlines()]
    outcome = run_command(*command, *with_z, "--output", str(tmp_path / f"rows.{ending}"))
    assert (outcome.exit_code, outcome.out) == (0, ""), outcome.err
    rows = read(tmp_path / f"rows.{ending}")
    assert not list(tmp_path.glob("*.part*"))
    if ending == "npy":
        name = {"encode": "mu", "classify": "scores"}.get(kind, "z")
        assert [row["row"] for row in rows] == [
            [0.25, 0.75] if kind == "classify" else record[name] for record in shown
        ]
    elif ending == "csv":
        assert [row["text"] for row in rows] == [record["text"] for record in shown]
        of_kind = {"encode": {"mu_0", "mu_1"}, "classify": {"label", "score", "score_bad", "score_good"}}
        assert set(rows[0]) >= of_kind.get(kind, {"z_0", "z_1"})
    else:
        assert rows == shown


class Interrupted(FakeTextModel):
    """Ctrl-C in the third batch."""

    num_calls = 0

    def _count(self) -> None:
        self.num_calls += 1
        if self.num_calls == 3:
            raise KeyboardInterrupt

    def encode(self, texts: Sequence[str], name: str, *, truncate: bool = False) -> Encoded:
        self._count()
        return super().encode(texts, name, truncate=truncate)

    def classify(self, texts: Sequence[str], name: str, *, truncate: bool = False) -> list[Classified]:
        self._count()
        return super().classify(texts, name, truncate=truncate)

    def decode(self, z: Tensor, *rest: Any) -> list[DecodedText]:
        self._count()
        return super().decode(z, *rest)

    def analogy(self, *groups: Any) -> list[DecodedText]:
        self._count()
        return super().analogy(*groups)


class Counting(FakeTextModel):
    """How many texts it encodes."""

    num_texts = 0

    def encode(self, texts: Sequence[str], name: str, *, truncate: bool = False) -> Encoded:
        self.num_texts += len(texts)
        return super().encode(texts, name, truncate=truncate)


_KILLED = """
import json, os, sys
from pathlib import Path
from adavae.service.commands.row_files import Forms, open_rows
file = open_rows(Path(sys.argv[1]), Forms(array=lambda record: record["mu"]))
for record in json.loads(sys.argv[2]):
    file.write([record])
os.kill(os.getpid(), 9)
"""


def refuse_space(*_: object) -> None:
    raise OSError("no space left")


def interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adavae.service.loading.load_text_model", Interrupted().load)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_done_before_ctrl_c_is_gone_on_with(
    run_command: RunCommand, tmp_path: Path, texts: Path, vectors: Path, kind: str, ending: str
) -> None:
    command = command_of(kind, texts, vectors)
    run_command(*command, "--output", str(tmp_path / f"whole.{ending}"))
    output = tmp_path / f"rows.{ending}"
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch)
        outcome = run_command(*command, "--output", str(output))
    num = 12 if kind == "analogy" else 6
    assert outcome.exit_code == 130
    assert f"{num} rows are in {output}.part: repeat the command with --resume to go on" in outcome.err
    assert not output.exists()
    refused = run_command(*command, "--output", str(output))
    assert refused.exit_code == 2
    assert "add --resume" in " ".join(refused.err.split())
    resumed = run_command(*command, "--output", str(output), "--resume")
    assert resumed.exit_code == 0, resumed.err
    assert read(output) == read(tmp_path / f"whole.{ending}")
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_second_command_is_refused_while_the_first_one_writes(
    run_command: RunCommand, tmp_path: Path, texts: Path, ending: str
) -> None:
    """Both wrote into one part, and one of them renamed it under the other."""
    output = tmp_path / f"rows.{ending}"
    link = tmp_path / f"other.{ending}"
    link.symlink_to(output)
    command = ["encode", "--file", str(texts), "--output"]
    refused = []
    with pytest.MonkeyPatch.context() as patch:

        class Meanwhile(FakeTextModel):
            """While the first command computes, others come."""

            def encode(self, texts: Sequence[str], adapter: str, *, truncate: bool = False) -> Encoded:
                if not refused:
                    refused.extend(run_command(*command, *way) for way in ([str(output)], [str(link), "--resume"]))
                return super().encode(texts, adapter, truncate=truncate)

        patch.setattr("adavae.service.loading.load_text_model", Meanwhile().load)
        outcome = run_command(*command, str(output))
    assert outcome.exit_code == 0, outcome.err
    assert [each.exit_code for each in refused] == [2, 2]
    assert all("another command writes it now" in " ".join(each.err.split()) for each in refused)
    assert len(read(output)) == 10
    assert run_command(*command, str(output)).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"texts.txt", output.name, link.name}


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ["csv", "jsonl", "npy"])
def test_a_row_that_was_not_written_to_its_end_is_written_anew(
    run_command: RunCommand, tmp_path: Path, texts: Path, ending: str
) -> None:
    """As after a kill or a power cut."""
    output, part = tmp_path / f"rows.{ending}", tmp_path / f"rows.{ending}.part"
    run_command("encode", "--file", str(texts), "--output", str(output))
    whole = output.read_bytes()
    part.write_bytes(whole[:-5])
    assert run_command("encode", "--file", str(texts), "--output", str(output), "--resume").exit_code == 0
    assert output.read_bytes() == whole
    assert not part.exists()


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_done_before_a_kill_is_gone_on_with(
    run_command: RunCommand, tmp_path: Path, texts: Path, ending: str
) -> None:
    """Parquet lost all of it, and began anew without a word."""
    output = tmp_path / f"rows.{ending}"
    like = [json.loads(line) for line in run_command("encode", "--file", str(texts)).out.splitlines()[:6]]
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(output), json.dumps(like)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not output.exists()
    refused = run_command("encode", "--file", str(texts), "--output", str(output))
    assert "add --resume" in " ".join(refused.err.split())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adavae.service.loading.load_text_model", (model := Counting()).load)
        outcome = run_command("encode", "--file", str(texts), "--output", str(output), "--resume")
    assert outcome.exit_code == 0, outcome.err
    assert model.num_texts == 10 - len(like)
    run_command("encode", "--file", str(texts), "--output", str(tmp_path / f"whole.{ending}"))
    assert read(output) == read(tmp_path / f"whole.{ending}")


@pytest.mark.usefixtures("fake")
def test_parquet_that_is_not_made_in_the_end_is_made_by_the_next_run(
    run_command: RunCommand, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, command = tmp_path / "rows.parquet", ["encode", "--file", str(texts), "--output"]
    with monkeypatch.context() as patch:
        patch.setattr("adavae.service.commands.row_files.Parquet._convert", refuse_space)
        outcome = run_command(*command, str(output))
    assert outcome.exit_code == 1
    assert f"10 rows are in {output}.part: repeat the command with --resume" in outcome.err
    assert {path.name for path in tmp_path.iterdir()} == {
        "texts.txt",
        "rows.parquet.part",
        "rows.parquet.part.options",
    }
    assert run_command(*command, str(output), "--resume").exit_code == 0
    assert len(read(output)) == 10
    assert {path.name for path in tmp_path.iterdir()} == {"texts.txt", "rows.parquet"}


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("content", [b"PAR1 without an end", b"\0" * 99, b"text\n"])
def test_a_part_of_another_kind_is_refused_as_it_is(
    run_command: RunCommand, tmp_path: Path, texts: Path, content: bytes
) -> None:
    """Where no line ended it was taken for nothing, and emptied."""
    part = tmp_path / "rows.parquet.part"
    part.write_bytes(content)
    outcome = run_command("encode", "--file", str(texts), "--output", str(tmp_path / "rows.parquet"), "--resume")
    assert outcome.exit_code == 1
    assert "remove it, and begin anew" in outcome.err
    assert part.read_bytes() == content


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_is_gone_on_with_in_the_same_columns(
    run_command: RunCommand, tmp_path: Path, texts: Path, ending: str
) -> None:
    command = ["encode", "--file", str(texts), "--output", str(tmp_path / f"rows.{ending}")]
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch)
        run_command(*command)
    (tmp_path / f"rows.{ending}.part.options").unlink()  # as an earlier version left it
    outcome = run_command(*command, "--resume", "--with-logvar")
    assert outcome.exit_code == 1
    assert "other columns" in outcome.err


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_rows_of_another_run_are_not_gone_on_with(
    run_command: RunCommand, tmp_path: Path, texts: Path, ending: str
) -> None:
    output, others = tmp_path / f"rows.{ending}", tmp_path / "others.txt"
    others.write_text("something else\n" * 9, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch)
        run_command("encode", "--file", str(texts), "--output", str(output))
    for wrong, said in (
        (["--file", str(others)], "has the text"),
        (["--file", str(texts), "--adapter", "other"], "has the adapter 'yelp@0123456789ab'"),
        (["a text"], "the input has 1 rows, but 6 are written"),
    ):
        outcome = run_command("encode", *wrong, "--output", str(output), "--resume")
        assert outcome.exit_code == 1
        assert said in outcome.err
        assert "6 rows are in" in outcome.err


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("samples", ["1", "3", "1000"])
def test_other_samples_of_each_text_are_not_gone_on_with(
    run_command: RunCommand, tmp_path: Path, texts: Path, vectors: Path, ending: str, samples: str
) -> None:
    """Regression: texts were left out and the command said that all was there, or what was done was thrown away."""
    command = [*command_of("analogy", texts, vectors), "--output", str(tmp_path / f"rows.{ending}")]
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch)
        run_command(*command)
    part = tmp_path / f"rows.{ending}.part"
    written = part.read_bytes()
    (tmp_path / f"rows.{ending}.part.options").unlink()  # as an earlier version left it
    outcome = run_command(*command, "-n", samples, "--resume")
    assert (outcome.exit_code, part.read_bytes()) == (1, written)
    assert "of the earlier run has the c" in outcome.err
    assert run_command(*command, "--resume").exit_code == 0
    assert [int(row["c"]) for row in read(tmp_path / f"rows.{ending}")] == [place // 2 for place in range(20)]


OTHERWISE = [
    ("encode", ["--truncate"], "without --truncate, now it would be with --truncate"),
    ("encode", ["--with-logvar"], "with --with-logvar"),
    ("encode", ["--text-column", "body"], "with --text-column 'body'"),
    ("classify", ["--top-k", "1"], "without --top-k, now it would be with --top-k 1"),
    ("classify", ["--truncate"], "with --truncate"),
    ("decode", ["--seed", "7", "--strategy", "sample"], "with --strategy 'greedy', now it would be with"),
    ("decode", ["--seed", "7"], "with --seed 0, now it would be with --seed 7"),
    ("decode", ["--max-tokens", "9"], "with --max-tokens 48, now it would be with --max-tokens 9"),
    ("decode", ["--refine", "0.5"], "without --refine, now it would be with --refine 0.5"),
    ("decode", ["--with-z"], "with --with-z"),
    ("samples", ["--samples", "11"], "with --samples 10, now it would be with --samples 11"),
    ("samples", ["--label", "good"], "without --label, now it would be with --label 'good'"),
    ("samples", ["--label", "good", "--guidance", "2"], "now it would be with --label 'good'"),
    ("samples", ["--truncation", "0.9"], "with --truncation 0.9"),
    ("samples", ["--candidates", "2"], "with --candidates 2"),
    ("analogy", ["--scale", "2"], "with --scale 1.0, now it would be with --scale 2.0"),
    ("analogy", ["-n", "3"], "with --samples 2, now it would be with --samples 3"),
    ("analogy", ["--focus", "0.5"], "with --focus 0.5"),
    ("analogy", ["--top-p", "0.5"], "with --top-p 0.5"),
]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("kind", "other", "said"), OTHERWISE)
def test_rows_that_other_options_shaped_are_not_gone_on_with(
    run_command: RunCommand,
    tmp_path: Path,
    texts: Path,
    vectors: Path,
    kind: str,
    other: list[str],
    said: str,
) -> None:
    """Two runs were mixed in one file, each made in its own way, and the second one said that all went well."""
    command = [*command_of(kind, texts, vectors), "--output", str(tmp_path / "rows.jsonl")]
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch)
        run_command(*command)
    part = tmp_path / "rows.jsonl.part"
    written = part.read_bytes()
    refused = run_command(*command, *other, "--resume")
    assert (refused.exit_code, part.read_bytes()) == (2, written)
    told = " ".join(refused.err.replace("│", " ").split())
    assert said in told
    assert "give the same options, or begin anew with another --output" in told
    assert run_command(*command, "--resume").exit_code == 0
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.usefixtures("fake")
def test_answers_to_other_examples_are_not_gone_on_with(
    run_command: RunCommand, tmp_path: Path, texts: Path, vectors: Path
) -> None:
    command = [*command_of("analogy", texts, vectors), "--output", str(tmp_path / "rows.jsonl")]
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch)
        run_command(*command)
    command[2] = "another b"
    refused = run_command(*command, "--resume")
    assert refused.exit_code == 2
    assert "with texts B '" in refused.err


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ENDINGS)
def test_rows_of_another_set_or_another_command_are_not_gone_on_with(
    run_command: RunCommand, tmp_path: Path, texts: Path, ending: str
) -> None:
    """A matrix says of itself neither which set made it nor what it holds."""
    command = ["--file", str(texts), "--output", str(tmp_path / f"rows.{ending}")]
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch)
        run_command("encode", *command)
    other = run_command("encode", *command, "--adapter", "other", "--resume")
    assert other.exit_code == 1
    assert "has the adapter 'yelp@0123456789ab', now it would be 'other@0123456789ab'" in other.err
    other = run_command("classify", *command, "--resume")
    assert other.exit_code == 2
    assert "by adavae encode, now it would be by adavae classify" in " ".join(other.err.split())
    assert run_command("encode", *command, "--resume").exit_code == 0


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("left", [None, b"", b"[]", b'{"options": {}}'])
def test_a_part_that_says_nothing_of_its_options_is_gone_on_with(
    run_command: RunCommand, tmp_path: Path, texts: Path, left: bytes | None
) -> None:
    """As earlier versions left them."""
    command = ["encode", "--file", str(texts), "--output", str(tmp_path / "rows.jsonl")]
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch)
        run_command(*command)
    kept = tmp_path / "rows.jsonl.part.options"
    kept.unlink()
    if left is not None:
        kept.write_bytes(left)
    assert run_command(*command, "--truncate", "--resume").exit_code == 0
    assert len(read(tmp_path / "rows.jsonl")) == 10
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.usefixtures("fake")
def test_a_run_without_a_row_binds_nobody(run_command: RunCommand, tmp_path: Path, texts: Path) -> None:
    command = ["encode", "--file", str(texts), "--output", str(tmp_path / "rows.jsonl")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interrupted, "num_calls", 2)
        interrupt(patch)
        assert run_command(*command).exit_code == 130
    assert {path.name for path in tmp_path.iterdir()} == {"texts.txt"}
    (tmp_path / "rows.jsonl.part").touch()  # as after a kill
    (tmp_path / "rows.jsonl.part.options").write_text('{"options": {"--truncate": false}, "adapter": "a@b"}')
    assert run_command(*command, "--truncate", "--resume").exit_code == 0


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(
    run_command: RunCommand, tmp_path: Path, texts: Path, ending: str, is_there: bool
) -> None:
    """The link was replaced by the file, and whoever read what it led to went on reading what had been there."""
    (far := tmp_path / "far").mkdir()
    target, link = far / "kept", tmp_path / f"rows.{ending}"
    if is_there:
        target.write_bytes(b"before")
    link.symlink_to(Path("far") / "kept")
    command = ["encode", "--file", str(texts), "--output", str(link)]
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch)
        assert run_command(*command).exit_code == 130
    assert {path.name for path in far.iterdir()} - {"kept"} == {"kept.part", "kept.part.options"}
    assert target.exists() == is_there
    outcome = run_command(*command, "--resume")
    assert outcome.exit_code == 0, outcome.err
    assert link.is_symlink()
    assert {path.name for path in far.iterdir()} == {"kept"}
    assert len(read(link)) == 10


@pytest.mark.usefixtures("fake")
def test_a_link_into_nowhere_is_told(run_command: RunCommand, tmp_path: Path, texts: Path) -> None:
    link = tmp_path / "rows.csv"
    link.symlink_to(tmp_path / "nowhere" / "rows.csv")
    outcome = run_command("encode", "--file", str(texts), "--output", str(link))
    assert outcome.exit_code == 2
    assert "there is no folder" in outcome.err


@pytest.mark.usefixtures("fake")
def test_a_carriage_return_within_a_text_is_within_its_cell(run_command: RunCommand, tmp_path: Path) -> None:
    """Regression: it ended the row, for our own reader too, and what was done could not be gone on with."""
    given = [f"text {number}\rand more" for number in range(10)]
    file, output = tmp_path / "texts.jsonl", tmp_path / "rows.csv"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in given), encoding="utf-8")
    command = ["encode", "--file", str(file), "--output", str(output)]
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch)
        run_command(*command)
    assert run_command(*command, "--resume").exit_code == 0
    assert [row["text"] for row in read(output)] == given


@pytest.mark.usefixtures("fake")
def test_what_is_read_is_not_written_over(run_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\nfine,1\n", encoding="utf-8")
    (tmp_path / "same.csv").symlink_to("rows.csv")
    for name in ("rows.csv", "same.csv"):
        outcome = run_command("encode", "--file", str(tmp_path / "rows.csv"), "--output", str(tmp_path / name))
        assert outcome.exit_code == 2
        assert "which is read: name another file" in " ".join(outcome.err.split())
    assert (tmp_path / "rows.csv").read_text() == "text,label\nfine,1\n"


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("name", "content"),
    [("a.ndjson", '{"text": "one", "label": 1}\n'), ("a.tab", "text\tlabel\none\t1\n"), ("a.log", "one\n")],
)
def test_other_names_of_the_formats_are_known_and_unknown_ones_told(
    run_command: RunCommand, tmp_path: Path, name: str, content: str
) -> None:
    """Regression: braces, header and labels were taken for texts."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    outcome = run_command("encode", "--file", str(tmp_path / name), "--json")
    assert [json.loads(line)["text"] for line in outcome.out.splitlines()] == ["one"]
    assert ("is read as plain text" in outcome.err) == (name == "a.log")


@pytest.mark.usefixtures("fake")
def test_half_a_surrogate_pair_in_a_file_is_told_with_its_line(run_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text('{"text": "fine"}\n{"text": "a\\ud800b"}\n', encoding="utf-8")
    outcome = run_command("encode", "--file", str(tmp_path / "texts.jsonl"))
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert "texts.jsonl, line 2: holds a NUL character or half a surrogate pair" in outcome.err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_vectors_in_a_table_are_told_how_to_come(run_command: RunCommand, tmp_path: Path, ending: str) -> None:
    (tmp_path / f"z.{ending}").write_bytes(b"PAR1\xe2")
    outcome = run_command("decode", "--file", str(tmp_path / f"z.{ending}"))
    assert outcome.exit_code == 1
    assert "adavae encode --output z.npy" in outcome.err


@pytest.mark.parametrize(("name", "said"), [("rows.xls", ".csv, .jsonl, .npy, .parquet"), ("no/rows.csv", "make it")])
def test_where_rows_could_not_be_written_nothing_is_computed(
    run_command: RunCommand, fake: FakeTextModel, tmp_path: Path, name: str, said: str
) -> None:
    outcome = run_command("encode", "a text", "--output", str(tmp_path / name))
    assert (outcome.exit_code, fake.references) == (2, [])
    assert said in " ".join(outcome.err.split())
    assert run_command("encode", "a text", "--resume").exit_code == 2


def test_parquet_without_its_package_says_what_to_install(
    run_command: RunCommand, fake: FakeTextModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    outcome = run_command("encode", "a text", "--output", str(tmp_path / "rows.parquet"))
    assert (outcome.exit_code, fake.references) == (1, [])
    assert "pip install 'adavae[parquet]'" in outcome.err


@pytest.mark.usefixtures("fake")
def test_vectors_go_round_by_numpys_format(run_command: RunCommand, tmp_path: Path) -> None:
    run_command("encode", "a", "long", "--output", str(tmp_path / "mu.npy"))
    outcome = run_command("decode", "--file", str(tmp_path / "mu.npy"))
    assert [json.loads(line)["text"] for line in outcome.out.splitlines()] == ["text 1", "text 4"]


def npy(header: str) -> bytes:
    """A file with that header, and 400 bytes of numbers."""
    padded = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + bytes(400)


def npz() -> bytes:
    written = io.BytesIO()
    np.savez(written, z=np.zeros((2, 2), np.float32))
    return written.getvalue()


def with_shape(shape: str, descr: str = "'<f4'") -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}")


NO_MATRICES = {
    "a mark alone": b"\x93NUMPY",
    "nothing": b"",
    "another file": b"[1, 2]\n",
    "npz": npz(),
    "a pickle": b"\x80\x04N.",
    "cut in its header": with_shape("(2, 2)")[:40],
    "no dict": npy("(1, 2"),
    "a bracket": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2"),
    "brackets": npy("(" * 100),
    "an unknown type": with_shape("(2, 2)", "'<q9'"),
    "a type that is none": with_shape("(2, 2)", "(1, 2, 3)"),
    "a shape of words": with_shape("('a', 'b')"),
    "version 3": with_shape("(2, 2)").replace(b"\x01\x00", b"\x03\x00", 1),
    "version 9": with_shape("(2, 2)").replace(b"\x01\x00", b"\x09\x00", 1),
    "negative": with_shape("(-2, 2)"),
    "twice negative": with_shape("(-2, -2)"),
    "huge": with_shape(f"({2**70}, 2)"),
    "wide": with_shape(f"(2, {2**70})"),
    "large": with_shape(f"({2**31}, {2**31})"),
    "more than there is": with_shape("(51, 2)"),
    "one axis": with_shape("(4,)"),
    "no axis": with_shape("()"),
    "no rows": with_shape("(0, 2)"),
    "objects": with_shape("(2, 2)", "'|O'"),
    "words": with_shape("(2, 2)", "'<U2'"),
    "booleans": with_shape("(2, 2)", "'|b1'"),
    "a record": with_shape("(2, 2)", "[('a', '<f4')]"),
}


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("content", NO_MATRICES.values(), ids=NO_MATRICES)
def test_what_is_no_matrix_is_refused_in_one_line(run_command: RunCommand, tmp_path: Path, content: bytes) -> None:
    """Some of them were tracebacks."""
    file = tmp_path / "z.npy"
    file.write_bytes(content)
    outcome = run_command("decode", "--file", str(file))
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert f"{file}: " in outcome.err and len(outcome.err.splitlines()) == 1
    part = tmp_path / "rows.npy.part"
    part.write_bytes(content)
    outcome = run_command("encode", "a", "b", "--output", str(tmp_path / "rows.npy"), "--resume")
    assert outcome.exit_code == (1 if content else 0), outcome.err


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i8", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_kind_of_matrix_is_decoded(run_command: RunCommand, tmp_path: Path, dtype: str, order: Any) -> None:
    np.save(tmp_path / "z.npy", np.asarray([[1, 2], [3, 4], [5, 6], [7, 8]], dtype=dtype, order=order))
    outcome = run_command("decode", "--file", str(tmp_path / "z.npy"), "--with-z")
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert [record["z"] for record in records] == [[1, 2], [3, 4], [5, 6], [7, 8]]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e39])
def test_a_number_that_is_none_is_told_with_its_place(run_command: RunCommand, tmp_path: Path, number: float) -> None:
    rows = np.zeros((9, 2))
    rows[7, 1] = number
    np.save(tmp_path / "z.npy", rows)
    (tmp_path / "z.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows.tolist()), encoding="utf-8")
    for name, place in (("z.npy", "row 7"), ("z.jsonl", "line 8")):
        outcome = run_command("decode", "--file", str(tmp_path / name))
        assert outcome.exit_code == 1
        assert f"{tmp_path / name}, {place}: a number is not finite" in outcome.err


def test_a_matrix_is_not_read_from_a_pipe(run_command: RunCommand, tmp_path: Path) -> None:
    with piped(tmp_path / "z.npy", with_shape("(2, 2)")) as path:
        outcome = run_command("decode", "--file", str(path))
    assert outcome.exit_code == 1
    assert "is a pipe" in outcome.err


@pytest.mark.usefixtures("fake")
def test_analogies_read_their_texts_from_a_pipe(run_command: RunCommand) -> None:
    outcome = run_command("analogy", "a", "b", "-", stdin="".join(f"{number}\n" for number in range(5)))
    texts = [json.loads(line)["text"] for line in outcome.out.splitlines()]
    assert texts == [f"a:b::{number} 1.0" for number in range(5)]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("kind", ["encode", "decode", "analogy"])
def test_a_file_may_be_a_pipe(run_command: RunCommand, texts: Path, vectors: Path, tmp_path: Path, kind: str) -> None:
    """As ``--file <(...)``: rows at its beginning were lost."""
    from_files = run_command(*command_of(kind, texts, vectors)).out
    with piped(tmp_path / "one", texts.read_bytes()) as one, piped(tmp_path / "two", vectors.read_bytes()) as two:
        assert run_command(*command_of(kind, one, two)).out == from_files != ""


@pytest.mark.usefixtures("fake")
def test_a_broken_line_far_down_a_file_is_told_before_the_first_row(run_command: RunCommand, tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_text("text,label\n" + "fine,1\n" * 8 + "broken\n", encoding="utf-8")
    outcome = run_command("encode", "--file", str(file))
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert f"{file}:10: has 1 columns" in outcome.err


def test_lines_of_a_pipe_are_taken_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="latin-1") as stdin, os.fdopen(writing, "wb", buffering=0) as stdout:
        monkeypatch.setattr("sys.stdin", stdin)
        batches = arriving_lines(lambda _, line: line, size=2)
        for sent, expected in (
            ("\ufeffone\nand ha", ["one"]),
            ("lf\r\n", ["and half"]),
            ("1\n2\n3\n", ["1", "2"]),
            ("", ["3"]),
            ("ü\nlast", ["ü"]),
        ):
            stdout.write(sent.encode())
            assert next(batches) == expected
        stdout.close()
        assert list(batches) == [["last"]]


def test_a_pipe_that_is_not_utf8_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb") as stdout:
        stdout.write(b"fine\ncaf\xe9\n")
        stdout.close()
        monkeypatch.setattr("sys.stdin", stdin)
        batches = arriving_lines(lambda _, line: line, size=9)
        assert next(batches) == ["fine"]
        with pytest.raises(DatasetError, match=r"standard input, line 2: is not UTF-8 \(byte 0xe9\)"):
            next(batches)


def test_rows_before_a_line_that_is_wrong_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: up to 511 rows that were in order were lost with it."""

    def text(number: int, line: str) -> str:
        if not line:
            raise DatasetError(f"line {number} is empty")
        return line

    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb") as stdout:
        stdout.write(b"one\ntwo\n\nthree\n")
        stdout.close()
        monkeypatch.setattr("sys.stdin", stdin)
        batches = arriving_lines(text, size=9)
        assert next(batches) == ["one", "two"]
        with pytest.raises(DatasetError, match="line 3 is empty"):
            next(batches)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_rows_that_are_being_written_are_written_to_their_end(number: signal.Signals) -> None:
    written = []
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), to_its_end():
        os.kill(os.getpid(), number)
        written.append("a row")
    assert written == ["a row"]
    assert signal.getsignal(number) is before


def test_a_signal_that_the_process_ignores_stays_ignored() -> None:
    """Shells start what is in background so."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with to_its_end():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
