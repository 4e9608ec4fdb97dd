"""Commands over a model that was replaced by a recording one: parsing, JSON, and what reaches the model."""

import json
from pathlib import Path

import pytest

from adavae.model.decoding.decoding import Decoding, Strategy
from adavae.model.latent.steering import USUAL, Draw, Steering
from adavae.service import loading
from tests.tiny import PLAIN
from tests.tiny_text import tiny_text_model
from tests.unit.service.commands.conftest import FakeTextModel
from tests.unit.service.conftest import Outcome, RunCommand


def _records(outcome: Outcome) -> list[dict[str, object]]:
    assert (outcome.exit_code, outcome.err) == (0, "")
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_encode_gives_one_object_per_text(run_command: RunCommand, fake: FakeTextModel) -> None:
    records = _records(run_command("encode", "a text", "étude", "--adapter", "sst2", "--device", "cpu"))
    assert records[0] == {
        "index": 0,
        "text": "a text",
        "mu": [6.0, -1.0],
        "tokens": 2,
        "truncated": False,
        "adapter": "sst2@0123456789ab",
    }
    assert records[1]["text"] == "étude"
    assert (fake.references, fake.device, fake.truncate) == (["sst2"], "cpu", False)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("command", ["encode", "classify"])
def test_a_pair_is_one_text(run_command: RunCommand, tmp_path: Path, command: str) -> None:
    (record,) = _records(run_command(command, " it rains . ", "--pair", "it is wet ."))
    assert record["text"] == "it rains . \u241e it is wet ."
    file = tmp_path / "pairs.tsv"
    file.write_text("text\ttext_pair\nit rains .\tit is wet .\n", encoding="utf-8")
    (of_file,) = _records(run_command(command, "--file", str(file)))
    assert of_file["text"] == record["text"]
    file.write_text("premise\tclaim\nit rains .\tit is wet .\n", encoding="utf-8")
    (named,) = _records(run_command(command, "--file", str(file), "--text-column", "premise", "--pair-column", "claim"))
    assert named["text"] == record["text"]


@pytest.mark.parametrize(
    "arguments", [("a", "b", "--pair", "c"), ("-", "--pair", "c"), ("--file", __file__, "--pair", "c"), ("--pair", "c")]
)
def test_a_pair_is_of_one_text_alone(run_command: RunCommand, arguments: tuple[str, ...]) -> None:
    outcome = run_command("classify", *arguments)
    assert outcome.exit_code == 2 and "give one text" in outcome.err


def test_the_configured_adapter_set_serves_where_none_is_named(
    run_command: RunCommand, fake: FakeTextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAVAE_DEFAULT_ADAPTER", "trec")
    run_command("encode", "a text")
    assert fake.references == ["trec"]


def test_encode_gives_the_variance_on_request(run_command: RunCommand, fake: FakeTextModel) -> None:
    record = _records(run_command("encode", "a text", "--with-logvar", "--truncate"))[0]
    assert record["logvar"] == [0.0, 0.0]
    assert fake.truncate


@pytest.mark.usefixtures("fake")
def test_encode_reads_lines_from_standard_input(run_command: RunCommand) -> None:
    records = _records(run_command("encode", "-", stdin="first line\r\nsecond line\n"))
    assert [record["text"] for record in records] == ["first line", "second line"]


@pytest.mark.usefixtures("fake")
def test_encode_reads_lines_from_a_file(run_command: RunCommand, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("one\ntwo\n", encoding="utf-8")
    assert [record["text"] for record in _records(run_command("encode", "--file", str(file)))] == ["one", "two"]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("command", ["encode", "classify"])
@pytest.mark.parametrize(
    ("name", "content", "option"),
    [
        ("a.tsv", 'label\ttext\npos\t"the waiter said ""no"""\nneg\tnext\n', []),
        ("a.csv", 'label,text\n1,"the waiter said ""no"""\n\n0,next\n', []),
        ("a.csv", 'label,text,body\n1,x,"the waiter said ""no"""\n0,y,next\n', ["--text-column", "body"]),
        ("a.jsonl", '{"sentence": "the waiter said \\"no\\""}\n{"sentence": "next"}\n', []),
        ("a.json", '[{"text": "the waiter said \\"no\\""}, {"text": " next\u00a0"}]', []),
        ("texts", 'the waiter said "no"\nnext', []),
    ],
)
def test_a_file_of_any_kind_gives_its_texts_and_nothing_else(
    run_command: RunCommand, tmp_path: Path, command: str, name: str, content: str, option: list[str]
) -> None:
    """The header and the column of labels of a file that ``train`` takes were classified as texts."""
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    outcome = run_command(command, "--file", str(file), *option)
    assert outcome.err == ("columns that are not read: 'text'\n" if option else "")
    assert [json.loads(line)["text"] for line in outcome.out.splitlines()] == ['the waiter said "no"', "next"]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("option", ["--text-column", "--pair-column"])
def test_a_column_without_a_file_is_wrong_usage(run_command: RunCommand, option: str) -> None:
    outcome = run_command("encode", "a text", option, "body")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert "go with --file" in outcome.err


@pytest.mark.usefixtures("fake")
def test_an_empty_line_is_reported_with_its_number(run_command: RunCommand, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("one\n\ntwo\n", encoding="utf-8")
    outcome = run_command("encode", "--file", str(file))
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert outcome.err == f"error: {file}, line 2: the line is empty\n"


@pytest.mark.usefixtures("fake")
def test_a_file_that_is_not_utf8_is_refused(run_command: RunCommand, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes(b"caf\xe9\n")
    outcome = run_command("encode", "--file", str(file))
    assert outcome.exit_code == 1
    assert "not UTF-8" in outcome.err


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    "arguments", [(), ("a text", "--file", __file__), ("",), ("fine", "  "), ("--file", "/nowhere")]
)
def test_encode_without_one_source_of_texts_is_wrong_usage(run_command: RunCommand, arguments: tuple[str, ...]) -> None:
    outcome = run_command("encode", *arguments)
    assert (outcome.exit_code, outcome.out) == (2, "")


def test_decode_draws_from_the_prior(run_command: RunCommand, fake: FakeTextModel) -> None:
    records = _records(run_command("decode", "--samples", "2", "--seed", "7"))
    assert [record["text"] for record in records] == ["text 7", "text 7"]
    assert records[0] == {
        "index": 0,
        "text": "text 7",
        "tokens": 2,
        "finish_reason": "stop",
        "adapter": "yelp@0123456789ab",
    }
    assert [decoding.seed for decoding in fake.decodings] == [7, 8]


@pytest.mark.usefixtures("fake")
def test_decode_reads_what_encode_writes(run_command: RunCommand) -> None:
    encoded = run_command("encode", "a text", "another").out
    records = _records(run_command("decode", "--with-z", stdin=encoded))
    assert [record["z"] for record in records] == [[6.0, -1.0], [7.0, -1.0]]


@pytest.mark.usefixtures("fake")
def test_decode_reads_bare_arrays(run_command: RunCommand) -> None:
    records = _records(run_command("decode", stdin="[3, 4.5]\n\n[5, 0]\n"))
    assert [record["text"] for record in records] == ["text 3", "text 5"]


@pytest.mark.usefixtures("fake")
def test_vectors_before_one_of_another_size_come_out(run_command: RunCommand) -> None:
    outcome = run_command("decode", stdin="[1, 2]\n[1]\n")
    assert (outcome.exit_code, len(outcome.out.splitlines())) == (1, 1)
    assert "line 2: the vector has 1 numbers, the first has 2" in outcome.err


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("stdin", ["", "[1, 2", '{"x": [1]}', "[]", '["a"]', "[true]", "3"])
def test_a_line_without_a_vector_is_a_failure(run_command: RunCommand, stdin: str) -> None:
    outcome = run_command("decode", stdin=stdin)
    assert (outcome.exit_code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: ")
    assert outcome.err.count("\n") == 1


def test_every_decoding_option_reaches_the_model(run_command: RunCommand, fake: FakeTextModel) -> None:
    options = (
        "--strategy sample --temperature 0.7 --top-k 5 --top-p 0.9 --repetition-penalty 1.2 --max-tokens 9 --seed 3"
    )
    run_command("interpolate", "a", "b", *options.split())
    assert fake.decodings == [
        Decoding(
            strategy=Strategy.SAMPLE,
            temperature=0.7,
            top_k=5,
            top_p=0.9,
            repetition_penalty=1.2,
            max_tokens=9,
            seed=3,
        )
    ]


@pytest.mark.parametrize("options", ["--temperature 0", "--strategy sample --temperature 0 --top-p 0.9"])
def test_temperature_zero_is_greedy(run_command: RunCommand, fake: FakeTextModel, options: str) -> None:
    assert run_command("interpolate", "a", "b", *options.split()).exit_code == 0
    assert fake.decodings == [Decoding()]


def test_beams_reach_the_model(run_command: RunCommand, fake: FakeTextModel) -> None:
    run_command("interpolate", "a", "b", "--strategy", "beam", "--num-beams", "3")
    assert fake.decodings == [Decoding(strategy=Strategy.BEAM, num_beams=3)]


def test_the_defaults_are_the_models_own(run_command: RunCommand, fake: FakeTextModel) -> None:
    run_command("interpolate", "a", "b")
    assert fake.decodings == [Decoding()]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--temperature 0.7", "--temperature has no effect with --strategy greedy: add --strategy sample"),
        ("--temperature 0 --num-beams 3", "--num-beams has no effect with --strategy greedy"),
        ("--strategy beam --temperature 0", "--temperature has no effect with --strategy beam"),
        ("--strategy sample --num-beams 3", "--num-beams has no effect with --strategy sample: add --strategy beam"),
        ("--strategy sample --top-p 1.5", "top_p is 1.5"),
        ("--max-tokens 0", "max_tokens is 0"),
        ("--seed -1", "seed is -1"),
        ("--strategy best", "best"),
    ],
)
def test_a_decoding_that_cannot_be_is_wrong_usage(run_command: RunCommand, options: str, reason: str) -> None:
    outcome = run_command("interpolate", "a", "b", *options.split())
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert reason in outcome.err


@pytest.mark.usefixtures("fake")
def test_interpolate_gives_tau_and_text(run_command: RunCommand) -> None:
    records = _records(run_command("interpolate", "one", "two", "--steps", "3", "--method", "spherical"))
    assert [record["tau"] for record in records] == [0, 1, 2]
    assert records[0]["text"] == "one>two spherical"
    assert "z" not in records[0]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("arguments", [("one",), ("one", "two", "--steps", "1"), ("one", " ")])
def test_interpolate_wants_two_texts_and_two_steps(run_command: RunCommand, arguments: tuple[str, ...]) -> None:
    assert run_command("interpolate", *arguments).exit_code == 2


@pytest.mark.usefixtures("fake")
def test_analogy_gives_its_answer(run_command: RunCommand) -> None:
    records = _records(run_command("analogy", "a", "b", "c", "--scale", "1.5", "--with-z"))
    expected = {"index": 0, "c": 0, "text": "a:b::c 1.5", "tokens": 2, "finish_reason": "length", "z": [1.0, 1.0]}
    assert records == [{**expected, "typicality": None, "adapter": "yelp@0123456789ab"}]


@pytest.mark.usefixtures("fake")
def test_analogy_takes_several_texts_and_files_of_them(run_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("bad\nawful\n", encoding="utf-8")
    records = _records(run_command("analogy", "--a-file", str(tmp_path / "a.txt"), "good", "c", "d"))
    assert [record["text"] for record in records] == ["bad+awful:good::c 1.0", "bad+awful:good::d 1.0"]
    for wrong in ([], ["good"], ["a", "b"], ["a", "b", "c", "--c-file", str(tmp_path / "a.txt")]):
        outcome = run_command("analogy", *wrong)
        assert outcome.exit_code == 2, outcome.err
        assert "--a-file" in outcome.err or "C is given twice" in outcome.err


@pytest.mark.usefixtures("fake")
def test_analogy_takes_files_alone(run_command: RunCommand, tmp_path: Path) -> None:
    """It asked for texts beside them."""
    options = []
    for name, texts in (("a", "bad\nawful\n"), ("b", "good\n"), ("c", "c\nd\n")):
        (tmp_path / name).write_text(texts, encoding="utf-8")
        options += [f"--{name}-file", str(tmp_path / name)]
    records = _records(run_command("analogy", *options))
    assert [record["text"] for record in records] == ["bad+awful:good::c 1.0", "bad+awful:good::d 1.0"]


@pytest.mark.parametrize("option", ["--c-file", "--a-file"])
def test_the_text_of_an_analogy_that_is_too_long_is_named_by_its_number_of_all(
    run_command: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """It had the number of its place in a batch."""
    monkeypatch.setattr(loading, "load_text_model", lambda *_, **__: tiny_text_model({"yelp": PLAIN}))
    texts = ["bad"] * 220
    texts[200] = "long " * 90
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    rest = ("a", "b") if option == "--c-file" else ("b", "c")
    outcome = run_command("analogy", *rest, option, str(tmp_path / "texts.txt"), "--max-tokens", "2")
    assert outcome.exit_code == 1
    assert f"{option[2]}[200]" in outcome.err
    assert "--truncate" not in outcome.err


def test_steering_reaches_the_model_and_is_checked(run_command: RunCommand, fake: FakeTextModel) -> None:
    _records(run_command("interpolate", "a", "b", "--refine", "0.5", "--truncation", "0.25", "--candidates", "4"))
    assert fake.steering == Steering(refine=0.5, truncation=0.25, candidates=4)
    _records(run_command("decode", "-n", "2", "--label", "good", "--guidance", "2"))
    assert (fake.draw, fake.steering) == (Draw(label="good", guidance=2.0), USUAL)
    for wrong, said in (
        (["interpolate", "a", "b", "--refine", "2"], "refine is 2.0"),
        (["decode", "-n", "2", "--guidance", "2"], "no effect without a label"),
        (["traverse", "a"], "give one direction"),
        (["traverse", "a", "--from-label", "x", "--to-text", "y"], "give one direction"),
    ):
        outcome = run_command(*wrong)
        assert outcome.exit_code == 2
        assert said in " ".join(outcome.err.split())


def test_analogy_draws_several_answers(run_command: RunCommand, fake: FakeTextModel) -> None:
    records = _records(run_command("analogy", "a", "b", "c", "--samples", "3", "--strategy", "sample"))
    assert len(records) == 3
    assert [decoding.seed for decoding in fake.decodings] == [0, 1, 2]


@pytest.mark.usefixtures("fake")
def test_several_greedy_answers_would_be_the_same_one(run_command: RunCommand) -> None:
    outcome = run_command("analogy", "a", "b", "c", "--samples", "3")
    assert outcome.exit_code == 2
    assert "--strategy sample" in outcome.err


@pytest.mark.usefixtures("fake")
def test_classify_gives_labels_and_scores(run_command: RunCommand) -> None:
    record = _records(run_command("classify", "nice"))[0]
    assert record["label"] == "good"
    assert record["scores"] == [{"label": "good", "score": 0.75}, {"label": "bad", "score": 0.25}]


@pytest.mark.usefixtures("fake")
def test_classify_gives_the_first_labels_on_request(run_command: RunCommand) -> None:
    record = _records(run_command("classify", "nice", "--top-k", "1"))[0]
    assert record["scores"] == [{"label": "good", "score": 0.75}]


@pytest.mark.usefixtures("fake")
def test_a_map_of_several_files_is_labelled_by_the_files(run_command: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\nthree\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("seventeen\ntwenty-one\n", encoding="utf-8")
    outcome = run_command("map", str(tmp_path / "a.txt"), str(tmp_path / "b.txt"))
    assert outcome.exit_code == 0
    assert "the plane shows 100.0% of what differs" in outcome.err
    records = [json.loads(line) for line in outcome.out.splitlines()]
    assert [record["label"] for record in records] == ["a.txt", "a.txt", "b.txt", "b.txt"]
    assert [record["nearest"] for record in records] == [1, 0, 3, 2]
    alone = run_command("map", str(tmp_path / "a.txt"), str(tmp_path / "a.txt"), "--method", "tsne")
    assert "plane" not in alone.err
    assert len(alone.out.splitlines()) == 4


@pytest.mark.usefixtures("fake")
def test_a_map_takes_the_columns_that_it_is_told(run_command: RunCommand, tmp_path: Path) -> None:
    rows = "".join(f"{number % 2},words {number}\n" for number in range(4))
    (tmp_path / "a.csv").write_text(f"stars,body\n{rows}", encoding="utf-8")
    outcome = run_command("map", str(tmp_path / "a.csv"), "--text-column", "body", "--label-column", "stars")
    told = [(row["text"], row["label"]) for row in map(json.loads, outcome.out.splitlines())]
    assert told == [(f"words {number}", str(number % 2)) for number in range(4)]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_map_goes_where_a_link_leads(run_command: RunCommand, tmp_path: Path, ending: str) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    (link := tmp_path / f"map.{ending}").symlink_to("kept")
    assert run_command("map", str(tmp_path / "a.txt"), "--output", str(link)).exit_code == 0
    assert link.is_symlink()
    assert (tmp_path / "kept").read_text(encoding="utf-8").count("three") == 1


@pytest.mark.parametrize(("output", "said"), [("map.png", ".csv, .json"), ("nowhere/map.csv", "make it first")])
def test_a_map_that_could_not_be_written_is_not_drawn(
    run_command: RunCommand, fake: FakeTextModel, tmp_path: Path, output: str, said: str
) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    outcome = run_command("map", str(tmp_path / "a.txt"), "--output", str(tmp_path / output))
    assert (outcome.exit_code, outcome.out, fake.references) == (2, "", [])
    assert said in " ".join(outcome.err.split())


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("ending", ["csv", "json"])
def test_a_map_is_labelled_by_files_whose_names_are_not_utf8(
    run_command: RunCommand, tmp_path: Path, ending: str
) -> None:
    for name in ("a\udcff.txt", "b.txt"):
        (tmp_path / name).write_text("one\nthree\n", encoding="utf-8")
    output = tmp_path / f"map.{ending}"
    outcome = run_command("map", str(tmp_path / "a\udcff.txt"), str(tmp_path / "b.txt"), "--output", str(output))
    assert outcome.exit_code == 0, outcome.err
    assert "udcff.txt" in output.read_text(encoding="utf-8")
