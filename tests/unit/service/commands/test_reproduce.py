"""``adavae reproduce``: every table at scale smoke over a tiny installation, a kill on the way, and wrong usage."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adavae.service.commands.output_lock import sole_writer
from tests import tiny_text
from tests.tiny import PREFIXED
from tests.tiny_home import publish_tiny, tiny_settings
from tests.tiny_prior import tiny_prior
from tests.tiny_text import as_tsv, reviews
from tests.unit.service.conftest import RunCommand

_TABLES = {"table1": 9, "table2": 24, "table3": 11, "figure1": 5 * 2}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny installation whose context holds the paper's sentences, and a folder of data sets."""
    monkeypatch.setattr(tiny_text, "N_POSITIONS", 160)
    settings = tiny_settings(tmp_path)
    for name in ("weights", "data", "default_adapter", "max_tokens"):
        monkeypatch.setenv(f"ADAVAE_{name.upper()}", str(getattr(settings, name)))
    monkeypatch.setenv("ADAVAE_THREADS", "1")
    for dataset in ("yelp", "ptb", "sst2", "wnli"):
        folder = tmp_path / "sets" / dataset
        folder.mkdir(parents=True)
        for seed, split in enumerate(("train", "valid", "test")):
            num = 240 if split == "train" else 30
            text = as_tsv(reviews(num, seed))
            if dataset == "wnli":
                header, *lines = text.splitlines()
                text = "\n".join([f"{header}\ttext_pair", *(f"{line}\tit was ." for line in lines)]) + "\n"
            (folder / f"{split}.tsv").write_text(text, encoding="utf-8")
    return tmp_path


def arguments(home: Path, table: str, *more: str) -> list[str]:
    places = ["--data", str(home / "sets"), "--output", str(home / "out")]
    return ["reproduce", table, *places, "--scale", "smoke", *more]


def records(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_second_command_into_one_folder_is_refused(home: Path, run_command: RunCommand) -> None:
    with sole_writer(home / "out"):
        outcome = run_command(*arguments(home, "table1", "--dataset", "yelp"))
    assert outcome.exit_code == 2
    assert "another command writes it now" in " ".join(outcome.err.split())
    assert not (home / "out").exists()


@pytest.mark.parametrize("table", _TABLES)
def test_a_table_is_run_from_end_to_end(table: str, home: Path, run_command: RunCommand) -> None:
    if table == "table2":
        pytest.importorskip("transformers")
    page, drawing, picture = home / "page.md", home / "curves.svg", home / "curves.png"
    dataset = ["--dataset", "wnli"] if table == "table3" else ["--dataset", "yelp"]
    svg = ["--svg", str(drawing), "--png", str(picture)] if table in ("table2", "figure1") else []
    outcome = run_command(*arguments(home, table, *dataset, "--markdown", str(page), *svg))
    assert outcome.exit_code == 0, outcome.err
    found = records(outcome.out)
    assert len(found) == _TABLES[table] and {each["table"] for each in found} == {table}
    assert all(each["row"] in page.read_text("utf-8") for each in found)
    assert drawing.is_file() is bool(svg)
    assert not svg or picture.read_bytes().startswith(b"\x89PNG")
    again = run_command(*arguments(home, table, *dataset))
    assert records(again.out) == found and f"1/{_TABLES[table]} " not in again.err  # nothing is run twice


@pytest.mark.parametrize(("table", "num"), [("table4", 3), ("table5", 11)])
def test_a_sets_answers_stand_beside_the_papers(table: str, num: int, home: Path, run_command: RunCommand) -> None:
    page = home / "page.md"
    outcome = run_command("reproduce", table, "--adapter", "plain", "--markdown", str(page))
    assert outcome.exit_code == 0, outcome.err
    found = records(outcome.out)
    assert len(found) == num and all(each["adapter"].startswith("plain@") for each in found)
    assert page.read_text("utf-8").count("plain@") == 1


def test_what_is_added_to_the_paper_is_measured_once(home: Path, run_command: RunCommand) -> None:
    weights, markdown = home / "weights", home / "additions.md"
    publish_tiny(weights / "adapters", weights, "steered", PREFIXED, 2, prior=tiny_prior(PREFIXED))
    command = arguments(home, "additions", "--adapter", "steered")
    outcome = run_command(*command, "--markdown", str(markdown))
    assert outcome.exit_code == 0, outcome.err
    found = records(outcome.out)
    assert [each["group"] for each in found] == ["draws"] * 5 + ["walks"] * 4 + ["analogies"] * 5
    assert all(each["row"] in markdown.read_text("utf-8") and each["figures"] for each in found)
    assert "14/14 " in outcome.err
    again = run_command(*command)
    assert records(again.out) == found and "14/14 " not in again.err
    page = home / "page.md"
    places = ["--output", str(home / "out"), "--adapter", "steered", "--markdown", str(page)]
    assert run_command("reproduce", "page", *places).exit_code == 0
    assert "reproduce additions --data DATA\n" in page.read_text("utf-8")  # those of scale smoke are no evidence


def test_a_set_without_a_flow_has_nothing_to_switch(home: Path, run_command: RunCommand) -> None:
    outcome = run_command(*arguments(home, "additions", "--adapter", "plain"))
    assert outcome.exit_code == 1 and "no flow" in outcome.err


def test_a_page_is_made_of_all_that_is_finished(home: Path, run_command: RunCommand) -> None:
    page = home / "page.md"
    outcome = run_command(
        "reproduce", "page", "--output", str(home / "nothing"), "--adapter", "plain", "--markdown", str(page)
    )
    assert outcome.exit_code == 0, outcome.err
    text = page.read_text("utf-8")
    assert "holds" not in text and text.count("not run yet") > 10 and text.count("plain@") == 2


def test_after_a_kill_the_same_command_goes_on(home: Path, run_command: RunCommand) -> None:
    rows = ["--dataset", "yelp", "--row", "LSTM-LM", "--row", "M. A.", "--row", "GPT-2, adapters"]
    command = arguments(home, "table2", *rows)
    cells = home / "out" / "table2.jsonl"
    cells.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "adavae.service", *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "1/3 yelp: LSTM-LM" in line)  # its last step: it is in the first cell
        next(line for line in process.stderr if "2/3 yelp: M. A." in line)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = cells.read_text("utf-8").splitlines()
    assert json.loads(kept[0])["row"] == "LSTM-LM"
    outcome = run_command(*command)
    assert "1/3 yelp: LSTM-LM" not in outcome.err
    assert [each["row"] for each in records(outcome.out)] == ["LSTM-LM", "M. A.", "GPT-2, adapters"]
    assert cells.read_text("utf-8").splitlines()[: len(kept)] == kept


@pytest.mark.parametrize(("table", "row"), [("figure1", "BERT PE, 10 labels"), ("table1", "AdaVAE")])
def test_a_data_set_of_the_hub_is_called_as_the_paper_calls_it(
    table: str, row: str, home: Path, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a validation split it was of no use to Tables 1 and 2."""
    rows = [
        dict(zip(("label", "text"), line.split("\t"), strict=True)) for line in as_tsv(reviews(60, 0)).splitlines()[1:]
    ]
    split = type("Rows", (list,), {"features": {}})(rows)
    library = SimpleNamespace(load_dataset=lambda *_: {"train": split, "test": split})  # as yelp_polarity
    monkeypatch.setitem(sys.modules, "datasets", library)  # type: ignore[arg-type]
    places = ["--data", "hub:someone/reviews", "--output", str(home / "out"), "--scale", "smoke", "--dataset", "yelp"]
    outcome = run_command("reproduce", table, *places, "--row", row)
    assert outcome.exit_code == 0, outcome.err
    (record,) = records(outcome.out)
    assert (record["dataset"], record["row"]) == ("yelp", row)
    assert (home / "out" / "data" / "yelp" / "train.jsonl").is_file()


def test_the_introduction_of_a_page_is_kept(home: Path, run_command: RunCommand) -> None:
    page = home / "page.md"
    page.write_text("# Mine\n\nWhat to know.\n\n## What the paper claims\n\nold\n", encoding="utf-8")
    places = ["--output", str(home / "nothing"), "--adapter", "plain", "--markdown", str(page)]
    assert run_command("reproduce", "page", *places).exit_code == 0
    text = page.read_text("utf-8")
    assert text.startswith("# Mine\n\nWhat to know.\n\n## What the paper claims\n\n26 claims: ") and "old" not in text


def test_workers_and_seeds(home: Path, run_command: RunCommand) -> None:
    rows = ["--dataset", "yelp", "--row", "BERT, sigma 128", "--seeds", "2", "--workers", "2"]
    outcome = run_command(*arguments(home, "table3", *rows))
    assert outcome.exit_code == 0, outcome.err
    (record,) = records(outcome.out)
    assert record["seeds"] == [0, 1] and record["deviation"] is not None
    assert "seed 1" in outcome.err


def test_rows_that_begin_from_a_checkpoint_are_cells_of_their_own(home: Path, run_command: RunCommand) -> None:
    pytest.importorskip("transformers")
    from tests.unit.model.training.reproduction.tiny_checkpoints import write_bert

    rows = ["--dataset", "wnli", "--row", "BERT, sigma 128", "--row", "AdaVAE, sigma 128"]
    command = arguments(home, "table3", *rows)
    begins = [[], *(["--bert", str(write_bert(home / name, seed=seed))] for seed, name in enumerate(("one", "two")))]
    weights = []
    for begin in begins:
        outcome = run_command(*command, *begin)
        assert outcome.exit_code == 0, outcome.err
        weights.append([each["weights"] for each in records(outcome.out)])
    assert [each[0].partition("@")[0] for each in weights] == [weights[0][0], "of one", "of two"]
    assert len({each[1] for each in weights}) == 1
    assert len((home / "out" / "table3.jsonl").read_text("utf-8").splitlines()) == 4  # AdaVAE's is the same cell
    again = run_command(*command, *begins[1], "--workers", "2")
    assert [each["weights"] for each in records(again.out)] == weights[1] and "1/2 " not in again.err
    idle = run_command(*arguments(home, "table3", "--dataset", "wnli", "--row", "AdaVAE, features"), *begins[1])
    assert idle.exit_code == 2 and "no row that --row names begins from --bert" in idle.err


def test_a_checkpoint_that_cannot_be_read_is_told_before_anything_is_run(home: Path, run_command: RunCommand) -> None:
    pytest.importorskip("transformers")
    from tests.unit.model.training.reproduction.tiny_checkpoints import write_bert

    outcome = run_command(*arguments(home, "table3", "--bert", str(write_bert(home / "old", as_pickle=True))))
    assert outcome.exit_code == 1 and "pickles are not read" in outcome.err
    assert not (home / "out").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("table1",), "--data"),
        (("table4", "--data", "."), "leave out --data"),
        (("additions",), "--data"),
        (("additions", "--data", ".", "--workers", "2"), "leave out --row, --seeds and --workers"),
        (("additions", "--data", ".", "--dataset", "yelp", "--dataset", "ptb"), "--dataset once"),
        (("additions", "--data", ".", "--svg", "x.svg"), "no curves"),
        (("page",), "--markdown"),
        (("table4", "--markdown", "no/such/page.md"), "there is no folder no/such"),
        (("table1", "--data", ".", "--svg", "x.svg"), "no curves"),
        (("table1", "--data", ".", "--png", "x.png"), "no curves"),
        (("table1", "--data", "hub:a/b", "--dataset", "yelp", "--dataset", "yahoo"), "--dataset once"),
        (("table1", "--data", ".", "--seeds", "3"), "leave out --seeds"),
        (("table1", "--data", ".", "--adapter", "yelp"), "leave out --adapter"),
        (("table3", "--data", ".", "--row", "BERT"), "is no row of this table"),
        (("table2", "--data", ".", "--bert", "a/b"), "no row that begins from --bert"),
        (("page", "--bert", "a/b"), "it is for table3 and figure1"),
        (("table3", "--data", ".", "--t5", "a/b"), "it is for table2"),
    ],
)
def test_wrong_usage_is_told_with_its_remedy(given: tuple[str, ...], told: str, run_command: RunCommand) -> None:
    outcome = run_command("reproduce", *given)
    assert outcome.exit_code == 2 and told in outcome.err


def test_a_row_that_cannot_be_run_is_told_at_the_end(
    home: Path, run_command: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the command, and every repetition of it, before the rows after it."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    outcome = run_command(*arguments(home, "table2", "--dataset", "yelp", "--row", "T5 VAE", "--row", "LSTM-LM"))
    assert outcome.exit_code == 1 and "needs transformers" in outcome.err
    assert [each["row"] for each in records(outcome.out)] == ["LSTM-LM"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_data_set_that_cannot_be_read_leaves_the_others_their_table(
    workers: str, home: Path, run_command: RunCommand
) -> None:
    """With one worker it ended the command when its turn came, and what was finished was not shown."""
    (home / "sets" / "ptb" / "train.tsv").write_text("text\tlabel\n", encoding="utf-8")
    rows = ["--row", "LSTM-LM", "--row", "AdaVAE 0.50", "--workers", workers]
    page, drawing = home / "page.md", home / "curves.svg"
    outcome = run_command(*arguments(home, "table2", *rows, "--markdown", str(page), "--svg", str(drawing)))
    assert outcome.exit_code == 1
    first, *_, last = outcome.err.splitlines()
    assert first.startswith("ptb: ") and "train.tsv: is empty" in first  # before the first cell
    assert "2 of 4 cells could not be run: ptb: " in last and last.count("is empty") == 1
    assert [(each["dataset"], each["row"]) for each in records(outcome.out)] == [
        ("yelp", "LSTM-LM"),
        ("yelp", "AdaVAE 0.50"),
    ]
    assert "LSTM-LM" in page.read_text("utf-8") and drawing.is_file()
