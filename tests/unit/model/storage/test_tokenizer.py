"""The tokenizer: round trips, the end-of-text token that no text can smuggle in, and every fault of its files."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from adavae.model.errors import BackboneNotFound, WeightsCorrupted
from adavae.model.storage.tokenizer import END_OF_TEXT, Tokenizer

TEXTS = ["the cat sees a tree", "Größe, 漢字 and 🦉!", "  two  spaces\tand\na line ", "", "a\u0301e\u200b"]


@pytest.fixture(scope="module")
def content() -> str:
    """A tokenizer.json of 270 tokens, end-of-text first."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=270,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["the cat sees the tree and the other cat sees a tree"] * 9, trainer)
    text: str = tokenizer.to_str()
    return text


@pytest.fixture(scope="module")
def tokenizer(content: str) -> Tokenizer:
    return Tokenizer(content)


def _changed(content: str, **changes: Any) -> str:
    return json.dumps({**json.loads(content), **changes})


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_from_its_tokens(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_many_texts_are_encoded_as_each_alone(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_many(TEXTS) == [tokenizer.encode(text) for text in TEXTS]
    assert tokenizer.encode_many([]) == []


@pytest.mark.parametrize("text", [END_OF_TEXT, f"a{END_OF_TEXT}b", f"{END_OF_TEXT} {END_OF_TEXT}"])
def test_end_of_text_in_a_text_is_plain_text(tokenizer: Tokenizer, text: str) -> None:
    token_ids = tokenizer.encode(text)
    assert tokenizer.eos_token_id not in token_ids
    assert tokenizer.encode_many([text]) == [token_ids]
    assert tokenizer.decode(token_ids) == text


def test_decoding_leaves_end_of_text_out(tokenizer: Tokenizer) -> None:
    eos, token_ids = tokenizer.eos_token_id, tokenizer.encode("the cat")
    assert tokenizer.decode([eos, *token_ids[:1], eos, *token_ids[1:], eos]) == "the cat"
    assert tokenizer.decode([eos]) == ""


def test_the_vocabulary_counts_end_of_text(tokenizer: Tokenizer) -> None:
    assert (tokenizer.vocab_size, tokenizer.eos_token_id) == (270, 0)


def test_truncation_and_padding_of_the_file_are_switched_off(content: str) -> None:
    truncation = {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    padding = {
        "strategy": {"Fixed": 50},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": END_OF_TEXT,
    }
    limited = Tokenizer(_changed(content, truncation=truncation, padding=padding))
    assert limited.encode("the cat sees") == Tokenizer(content).encode("the cat sees")
    assert limited.encode_many(["a", "the cat sees"]) == Tokenizer(content).encode_many(["a", "the cat sees"])


def test_the_digest_is_of_the_content_and_not_of_its_layout(content: str) -> None:
    digest = Tokenizer(content).digest
    reordered = json.dumps(dict(reversed(json.loads(content).items())), indent=4, ensure_ascii=True)
    assert reordered != content
    assert Tokenizer(reordered).digest == digest
    model = json.loads(content)["model"]
    assert Tokenizer(_changed(content, model={**model, "merges": model["merges"][:-1]})).digest != digest


def test_a_directory_with_the_whole_tokenizer_is_read(content: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    (tmp_path / "vocab.json").write_text("not read")
    assert Tokenizer.from_directory(tmp_path).digest == Tokenizer(content).digest


def test_vocabulary_and_merges_give_the_same_tokens(content: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizers.Tokenizer.from_str(content).model.save(str(tmp_path))
    built = Tokenizer.from_directory(tmp_path)
    assert (built.vocab_size, built.eos_token_id) == (tokenizer.vocab_size, tokenizer.eos_token_id)
    for text in [*TEXTS, END_OF_TEXT]:
        assert built.encode(text) == tokenizer.encode(text)
        assert built.decode(built.encode(text)) == text


@pytest.mark.parametrize("present", [[], ["vocab.json"], ["merges.txt"]])
def test_a_directory_without_a_tokenizer_names_what_is_missing(present: list[str], tmp_path: Path) -> None:
    for name in present:
        (tmp_path / name).write_text("{}")
    with pytest.raises(BackboneNotFound, match=r"neither tokenizer\.json nor vocab\.json with merges\.txt"):
        Tokenizer.from_directory(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"model": 1}'])
def test_what_is_not_a_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(WeightsCorrupted, match="not a tokenizer"):
        Tokenizer(text)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(WeightsCorrupted, match="cannot be read"):
        Tokenizer.from_directory(tmp_path)


def test_a_tokenizer_without_end_of_text_is_refused(content: str) -> None:
    model = json.loads(content)["model"]
    renamed = {token.replace(END_OF_TEXT, "<end>"): number for token, number in model["vocab"].items()}
    with pytest.raises(WeightsCorrupted, match=r"no <\|endoftext\|> token"):
        Tokenizer(_changed(content, model={**model, "vocab": renamed}, added_tokens=[]))


@pytest.mark.parametrize(
    ("vocab", "match"),
    [
        ("{", r"vocab\.json or merges\.txt is damaged"),
        ("[]", r"vocab\.json or merges\.txt is damaged"),
        ('{"a": "b"}', r"vocab\.json has no <\|endoftext\|> token"),
        ('{"a": 0}', r"vocab\.json has no <\|endoftext\|> token"),
    ],
)
def test_a_damaged_vocabulary_is_refused(vocab: str, match: str, tmp_path: Path) -> None:
    """Regression: the library's bare Exception came through, and a vocabulary without end-of-text was given one."""
    (tmp_path / "vocab.json").write_text(vocab)
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(WeightsCorrupted, match=match):
        Tokenizer.from_directory(tmp_path)


@pytest.mark.parametrize("text", ["the" * 500, " " * 999, "1!" * 300, "漢字" * 100, "a\u0301" * 200, *TEXTS])
def test_no_text_has_more_characters_than_its_tokens_have_bytes(tokenizer: Tokenizer, text: str) -> None:
    assert len(text) <= len(tokenizer.encode(text)) * tokenizer.longest_token
    assert 3 <= tokenizer.longest_token <= 20
