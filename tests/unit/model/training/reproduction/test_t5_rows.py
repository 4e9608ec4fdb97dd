"""T5 VAE from a checkpoint in Table 2: its likelihood is T5's own, it improves on its start, it reads own tokens."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from adavae.model.errors import ConfigError
from adavae.model.training.objective import TextBatch
from adavae.model.training.reproduction import table2
from adavae.model.training.reproduction.checkpoint import Checkpoint
from adavae.model.training.reproduction.corpus import Corpus, TestTexts
from adavae.model.training.reproduction.data_folder import DataFolder
from adavae.model.training.reproduction.own_tokens import OwnTokenizer
from adavae.model.training.reproduction.procedures import EncoderFirst
from adavae.model.training.reproduction.rows import Given, Row
from adavae.model.training.reproduction.systems.t5_checkpoint import KINDS, load_t5_vae
from tests.tiny_text import tiny_pretrained, tiny_tokenizer
from tests.unit.model.training.reproduction.tiny_reproduction import CPU, SCALE, write_folder

pytest.importorskip("transformers")
from tests.unit.model.training.reproduction.tiny_checkpoints import write_bert, write_t5


def found(directory: Path, name: str = "tiny-t5", **options: bool) -> Checkpoint:
    folder = directory / name
    return Checkpoint.find("--t5", str(folder if folder.is_dir() else write_t5(folder, **options)), KINDS)


def row(name: str, checkpoint: Checkpoint) -> Row:
    return next(each for each in table2.rows(checkpoint) if each.name == name)


def own_batch(directory: Path, checkpoint: Checkpoint) -> TextBatch:
    corpus = Corpus.read(write_folder(directory), tiny_tokenizer(), SCALE, 0)
    own = OwnTokenizer(checkpoint).sentences(corpus)
    return own.training.batch(range(6), own.pad_token_id, CPU)


@pytest.mark.parametrize("is_tied", [True, False])
def test_its_likelihood_is_that_of_t5_beside_one_vector(is_tied: bool, tmp_path: Path) -> None:
    checkpoint = found(tmp_path, is_tied=is_tied)
    model, t5 = load_t5_vae(checkpoint, 3, adapter_size=2), checkpoint.load("T5ForConditionalGeneration")
    batch, z = own_batch(tmp_path, checkpoint), torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    assert (model.scale == 1.0) is not is_tied
    with torch.no_grad():
        nll = model.nll(batch, z)
        for place, mask in enumerate(batch.attention_mask):
            labels = torch.tensor([[*batch.token_ids[place][mask].tolist(), 1]])
            logits = t5(encoder_outputs=(model.from_latent(z[place])[None, None],), labels=labels).logits
            expected = F.cross_entropy(logits[0], labels[0], reduction="sum")
            torch.testing.assert_close(nll[place], expected, rtol=1e-5, atol=0)
            hidden = t5.encoder(input_ids=labels).last_hidden_state[0]
            torch.testing.assert_close(model.pooled(batch)[place], hidden.amax(0), rtol=0, atol=1e-5)


def test_the_test_texts_have_the_same_words_in_its_own_tokens(tmp_path: Path) -> None:
    checkpoint, backbone = found(tmp_path), tiny_tokenizer()
    corpus = Corpus.read(write_folder(tmp_path), backbone, SCALE, 0)
    texts = TestTexts.of(corpus.test, backbone, 6)
    own, tokenizer = OwnTokenizer(checkpoint).measured(texts, backbone), checkpoint.tokenizer()
    assert torch.equal(own.num_words, texts.num_words) and own.num_cut == texts.num_cut > 0
    for ours, theirs in zip(own.token_ids, texts.token_ids, strict=True):
        assert ours == tokenizer(backbone.decode(theirs), add_special_tokens=False)["input_ids"]
    assert own.num_tokens.tolist() == [len(ids) + 1 for ids in own.token_ids] != texts.num_tokens.tolist()


@pytest.mark.parametrize("name", ["T5 VAE", "T5 VAE, adapters"])
def test_a_row_from_a_checkpoint_improves_on_its_start(name: str, tmp_path: Path) -> None:
    pretrained, checkpoint = tiny_pretrained(), found(tmp_path)
    scale = replace(SCALE, steps=60)
    data = DataFolder(write_folder(tmp_path), pretrained.tokenizer, scale, 0)
    outcome = row(name, checkpoint).run(Given(pretrained, data, scale, 0, CPU, lambda *_: None))
    assert outcome.figures["reconstruction"] < outcome.figures["reconstruction_began"]
    assert outcome.figures["ppl_word"] > 1 and outcome.figures["mi"] is not None
    assert outcome.weights == f"of {checkpoint.identity}" + (", frozen" if "adapters" in name else "")
    original = sum(each.numel() for each in checkpoint.load("T5ForConditionalGeneration").parameters())
    around = 16 * 6 + 6 + 3 * 16 + 16
    adapters = 4 * (2 * 16 * 2 + 2 + 16)
    trained = around + (adapters if "adapters" in name else original)
    assert outcome.trained_parameters == trained and outcome.share_percent == 100.0 * trained / original


def test_its_weights_learn_slowly_and_what_is_added_fast(tmp_path: Path) -> None:
    batch = own_batch(tmp_path, found(tmp_path))
    for adapter_size, slow in ((None, {"t5", "head"}), (2, set())):
        model = load_t5_vae(found(tmp_path), 3, adapter_size)
        procedure = EncoderFirst(model, 1e-3, torch.Generator().manual_seed(0), 0.5, 0.4, is_decaying=True)
        rates = {id(each): group["lr"] for group in procedure.optimizer.param_groups for each in group["params"]}
        found_slow = {name.partition(".")[0] for name, each in model.named_parameters() if rates.get(id(each)) == 1e-4}
        assert found_slow <= slow and bool(found_slow) is bool(slow)
        procedure.step(iter([batch]), 0.75)
        assert {group["lr"] for group in procedure.optimizer.param_groups} == {each / 4 for each in rates.values()}


def test_an_encoder_alone_and_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lacks 28 weights of T5ForConditionalGeneration, the first is decoder"):
        load_t5_vae(found(tmp_path, "half", is_half=True), 3, None)
    with pytest.raises(ConfigError, match="is a model of kind bert: name one of t5"):
        Checkpoint.find("--t5", str(write_bert(tmp_path / "bert")), KINDS)
