"""Windows of a stream of tokens, texts seen several times, a tokenizer made from texts."""

import numpy as np
import torch

from adavae.model.storage.tokenizer import END_OF_TEXT
from adavae.model.training.token_windows import WindowStream, repeated, token_stream, train_tokenizer
from tests.unit.model.training.tiny_pretraining import dataset_of, made_up_texts


def test_an_epoch_of_windows_covers_the_stream_once_and_in_another_order_each_time() -> None:
    stream = WindowStream(np.arange(100, dtype=np.int32), seed=3)
    epochs = [[stream.windows_at(3 * epoch + place, 8, 4) for place in range(3)] for epoch in range(2)]
    for epoch in epochs:
        rows = torch.cat(epoch)  # (12, 9)
        assert rows.shape == (12, 9)
        assert torch.equal(rows[:, 1:], rows[:, :-1] + 1)
        first = int(rows.min())
        assert sorted(rows[:, 0].tolist()) == list(range(first, first + 96, 8))
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))
    again = WindowStream(np.arange(100, dtype=np.int32), seed=3)
    assert torch.equal(again.windows_at(4, 8, 4), epochs[1][1])


def test_a_stream_shorter_than_a_batch_gives_the_windows_it_has() -> None:
    assert WindowStream(np.arange(20, dtype=np.int32), seed=0).windows_at(5, 8, 64).shape == (2, 9)


def test_the_token_stream_has_end_of_text_before_each_text_and_at_the_end() -> None:
    datasets = [dataset_of(["one two", "three"]), dataset_of(["four"])]
    tokenizer = train_tokenizer(datasets, 300)
    one, three, four = tokenizer.encode_many(["one two", "three", "four"])
    eos = tokenizer.eos_token_id
    assert token_stream(datasets, tokenizer).tolist() == [eos, *one, eos, *three, eos, *four, eos]


def test_a_trained_tokenizer_has_end_of_text_first_and_can_write_every_text() -> None:
    tokenizer = train_tokenizer([dataset_of(made_up_texts(50, 1))], 280)
    assert tokenizer.eos_token_id == 0
    assert tokenizer.vocab_size == 280
    for text in ("the cat", "Größe 漢字 🦉\t!", END_OF_TEXT):
        token_ids = tokenizer.encode(text)
        assert 0 not in token_ids
        assert tokenizer.decode(token_ids) == text


def test_a_source_is_seen_as_often_as_asked() -> None:
    dataset = dataset_of([f"text {number}" for number in range(10)])
    texts = repeated(dataset, 2.3, seed=1).texts
    assert len(texts) == 23
    assert {texts.count(text) for text in dataset.texts} == {2, 3}
    assert repeated(dataset, 2.3, seed=1).texts == texts
    assert repeated(dataset, 2.3, seed=2).texts != texts
    assert len(repeated(dataset, 0.5, seed=0).texts) == 5
