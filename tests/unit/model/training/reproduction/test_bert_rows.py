"""BERT from a checkpoint in Table 3 and Figure 1: what is read, what trains, that it learns, and cells of its own."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adavae.model.errors import ConfigError
from adavae.model.pairs import SEPARATOR
from adavae.model.training.reproduction import figure1, table3
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.labelled_corpus import LabelledCorpus
from adavae.model.training.reproduction.labelled_rows import ClassifierProcedure, LabelledRow
from adavae.model.training.reproduction.own_tokens import OwnTokenizer, most_positions
from adavae.model.training.reproduction.systems.bert import KINDS, BertClassifier, load_bert, segments
from tests.tiny_text import tiny_tokenizer
from tests.unit.model.training.reproduction.test_labelled import LEARNS, SCALE, given, write_pairs
from tests.unit.model.training.reproduction.tiny_reproduction import CPU, write_folder

transformers = pytest.importorskip("transformers")
from tests.unit.model.training.reproduction.tiny_checkpoints import write_bert  # noqa: E402

NAMES = ("BERT, features", "BERT, fine-tuning", "BERT, sigma 128", "BERT, sigma 512")
_BERT_BASE_CASED = transformers.BertConfig(vocab_size=28996)


def found(directory: Path, kind: str = "bert", seed: int = 0) -> Checkpoint:
    folder = directory / f"tiny-{kind}-{seed}"
    return Checkpoint.find("--bert", str(folder if folder.is_dir() else write_bert(folder, kind, seed)), KINDS)


def row(name: str, checkpoint: Checkpoint) -> LabelledRow:
    return next(each for each in table3.rows(checkpoint) if each.name == name)


@pytest.mark.parametrize(
    ("name", "kind"), [*((name, "bert") for name in NAMES), (NAMES[2], "roberta"), (NAMES[2], "distilbert")]
)
def test_a_bert_learns_labels_from_its_own_tokens(name: str, kind: str, tmp_path: Path) -> None:
    losses: list[float] = []
    cell = replace(given(tmp_path, LEARNS), on_step=lambda *step: losses.append(step[2]))
    checkpoint = found(tmp_path, kind)
    outcome = row(name, checkpoint).run(cell)
    assert sum(losses[-10:]) < sum(losses[:10])
    assert 0.0 <= outcome.figures["accuracy"] <= 1.0 and outcome.figures["num_labels"] == 60
    assert outcome.weights == f"of tiny-{kind}-0@{checkpoint.identity.partition('@')[2]}"


def test_the_share_is_of_the_checkpoint(tmp_path: Path) -> None:
    checkpoint, cell = found(tmp_path), given(tmp_path)
    encoder = checkpoint.load("AutoModel")
    original = sum(each.numel() for each in encoder.parameters())
    head, norms = 2 * 16 + 2, 2 * 2 * 2 * 16
    expected = {"BERT, features": head, "BERT, fine-tuning": original - 16 * 16 - 16 + head}  # without the pooler
    for sigma, size in ((128, 2), (512, 10)):
        expected[f"BERT, sigma {sigma}"] = 2 * 2 * (2 * 16 * size + 16 + size) + norms + head
    for name, trained in expected.items():
        outcome = row(name, checkpoint).run(cell)
        assert outcome.trained_parameters == trained
        share = {"BERT, features": None, "BERT, fine-tuning": 100.0}.get(name, 100.0 * trained / original)
        assert outcome.share_percent == share


@pytest.mark.parametrize(("adapter_size", "percent"), [(128, 4.41), (512, 17.49)])
def test_adapters_in_bert_base_are_as_many_as_the_paper_counts(adapter_size: int, percent: float) -> None:
    with torch.device("meta"):
        model = BertClassifier(transformers.BertModel(_BERT_BASE_CASED), 2, 102, adapter_size)
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert 100 * trained / model.original_parameters == pytest.approx(percent, abs=0.005)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_features_are_those_of_transformers_for_texts_and_pairs(kind: str, tmp_path: Path) -> None:
    """Padding, segments and adapters that have learned nothing change nothing."""
    checkpoint = found(tmp_path, kind)
    tokenizer, encoder = checkpoint.tokenizer(), checkpoint.load("AutoModel")
    model = load_bert(checkpoint, 2, adapter_size=3)
    for folder in (write_folder(tmp_path), write_pairs(tmp_path)):
        corpus = LabelledCorpus.read(folder, tiny_tokenizer(), replace(SCALE, most_tokens=200), 0)
        batch = OwnTokenizer(checkpoint).labelled(corpus).test.batch(range(12), tokenizer.pad_token_id, CPU)
        for place, text in enumerate(corpus.test_dataset.texts):
            expected = tokenizer(*text.split(f" {SEPARATOR} "), return_tensors="pt")
            assert batch.token_ids[place][batch.attention_mask[place]].tolist() == expected["input_ids"][0].tolist()
            if (types := expected.get("token_type_ids")) is not None:
                assert torch.equal(segments(expected["input_ids"], tokenizer.sep_token_id), types)
            if kind == "bert":
                expected["token_type_ids"] = segments(expected["input_ids"], tokenizer.sep_token_id)
            with torch.no_grad():
                feature = encoder(**expected).last_hidden_state[0, 0]
                torch.testing.assert_close(model.features(batch)[place], feature, rtol=0, atol=1e-5)


def test_texts_are_cut_where_the_backbones_tokens_cut_them(tmp_path: Path) -> None:
    backbone, own = tiny_tokenizer(), OwnTokenizer(found(tmp_path))
    corpus = LabelledCorpus.read(write_folder(tmp_path), backbone, replace(SCALE, most_tokens=5), 0)
    again = own.labelled(corpus)
    tokenizer = found(tmp_path).tokenizer()
    for ours, theirs in zip(again.training.token_ids, corpus.training.token_ids, strict=True):
        assert list(ours) == tokenizer(backbone.decode(theirs))["input_ids"]
    assert again.training.label_ids == corpus.training.label_ids and again.training.digest == corpus.training.digest


def test_a_text_has_no_special_tokens_of_its_own_and_no_more_tokens_than_positions(tmp_path: Path) -> None:
    checkpoint = found(tmp_path, "roberta")
    folder = write_pairs(tmp_path)
    long = "the food was good and " * 150
    (folder / "valid.tsv").write_text(f"label\ttext\ttext_pair\nno\t[PAD] it [SEP]\t[CLS] .\nyes\t{long}\t{long}\n")
    corpus = LabelledCorpus.read(folder, tiny_tokenizer(), replace(SCALE, most_tokens=5000), 0)
    short, cut = sorted(OwnTokenizer(checkpoint).labelled(corpus).test.token_ids, key=len)
    cls, sep = (checkpoint.tokenizer().convert_tokens_to_ids(name) for name in ("[CLS]", "[SEP]"))
    assert [list(short).count(each) for each in (0, cls, sep)] == [0, 1, 2]
    assert len(cut) == most_positions(checkpoint.config()) == 511 and list(cut).count(sep) == 2


def test_only_what_begins_random_learns_fast(tmp_path: Path) -> None:
    cell, checkpoint = given(tmp_path), found(tmp_path)
    for name in NAMES[1:3]:
        beginning = row(name, checkpoint).begin(cell, cell.data.labelled)
        groups = ClassifierProcedure(beginning).optimizer.param_groups
        rates = {id(each): group["lr"] for group in groups for each in group["params"]}
        trained = {name: rates[id(each)] for name, each in beginning.model.named_parameters() if each.requires_grad}
        random = {name for name, rate in trained.items() if rate == 1e-3}
        assert random == {name for name in trained if name.startswith("head") or ".down." in name or ".up." in name}
        assert set(trained.values()) == {1e-3, 1e-4}
        assert not any("pooler" in each for each in trained)


def test_only_berts_points_of_the_figure_begin_from_it(tmp_path: Path) -> None:
    checkpoint = found(tmp_path)
    rows = list(figure1.rows(SCALE, checkpoint))
    assert [each.name for each in rows] == [each.name for each in figure1.rows(SCALE)]
    assert {each.name.partition(",")[0] for each in rows if each.checkpoint} == {"BERT FT", "BERT PE"}
    (few,) = (each for each in rows if each.name == "BERT PE, 10 labels")
    assert few.run(given(tmp_path)).figures["num_labels"] == 10


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The hub cannot be reached; what it was asked for."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[str] = []

    def refuse(hub_id: str, **options: object) -> str:
        asked.append(f"{hub_id} {options['revision']}")
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    yield asked


def test_what_is_not_there_is_told_with_the_remedy(no_network: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"--bert is 'someone/bert@v2': .*could not be fetched.*name a folder"):
        Checkpoint.find("--bert", "someone/bert@v2", KINDS)
    assert no_network == ["someone/bert v2"]
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match="needs transformers: pip install"):
        Checkpoint.find("--bert", "someone/bert", KINDS)


def test_one_of_the_hub_is_called_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    folder, patterns = write_bert(tmp_path / "0123abc"), []

    def fetch(hub_id: str, **options: list[str]) -> str:
        patterns.extend([hub_id, *options["allow_patterns"]])
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    checkpoint = Checkpoint.find("--bert", "someone/bert", KINDS)
    assert checkpoint.identity == "someone/bert@0123abc" and checkpoint.words == ("--bert", "someone/bert@0123abc")
    assert patterns == ["someone/bert", "*.json", "*.safetensors", "*.txt", "*.model"]


def test_a_pickle_another_kind_and_half_a_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no safetensors, and pickles are not read"):
        Checkpoint.find("--bert", str(write_bert(tmp_path / "pickle", as_pickle=True)), KINDS)
    with pytest.raises(ConfigError, match="is a model of kind gpt2: name one of bert, distilbert, roberta"):
        Checkpoint.find("--bert", str(write_bert(tmp_path / "gpt2", "gpt2")), KINDS)
    folder = write_bert(tmp_path / "half")
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(ConfigError, match=r"lacks 16 weights of AutoModel, the first is encoder\.layer\.2"):
        load_bert(Checkpoint.find("--bert", str(folder), KINDS), 2)
    config.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read by transformers"):
        Checkpoint.find("--bert", str(folder), KINDS)


def test_other_weights_of_one_name_are_another_checkpoint(tmp_path: Path) -> None:
    first = found(tmp_path)
    (tmp_path / "other").mkdir()
    second = Checkpoint.find("--bert", str(write_bert(tmp_path / "other" / "tiny-bert-0", seed=1)), KINDS)
    assert first.words == second.words == ("--bert", "tiny-bert-0") and first.identity != second.identity
