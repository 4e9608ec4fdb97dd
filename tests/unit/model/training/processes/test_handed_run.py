"""What other processes are handed comes back as it was."""

from dataclasses import replace
from pathlib import Path

import torch

from adavae.model.training.processes.handed_run import HandedRun, Place
from adavae.model.training.run_origin import RunOrigin
from adavae.model.training.tokenized_texts import TokenizedTexts
from tests.tiny import TINY, tiny_backbone
from tests.unit.model.training.test_loop import CONFIG, _texts, _with_forms


def _handed(directory: Path, validation: TokenizedTexts) -> HandedRun:
    return HandedRun(
        config=replace(CONFIG, seed=9),
        backbone=tiny_backbone(),
        texts=_with_forms(_texts(20, 1)),
        validation=validation,
        directory=directory,
        initial={"head.weight": torch.ones(2, 3)},
        is_resumed=True,
        origin=RunOrigin("b" * 64, "c" * 64),
    )


def _same(found: TokenizedTexts, given: TokenizedTexts) -> bool:
    pairs = [(found.token_ids, given.token_ids), (found.form_ids or [], given.form_ids or [])]
    same_rows = all(list(map(list, one)) == list(map(list, other)) for one, other in pairs)
    return same_rows and (found.label_ids, found.digest) == (given.label_ids, given.digest)


def test_a_run_comes_back_as_it_was_handed(tmp_path: Path) -> None:
    given = _handed(tmp_path / "run", replace(_texts(5, 2), label_ids=None))
    given.write(tmp_path)
    found = HandedRun.read(tmp_path, torch.device("cpu"))
    assert (found.config, found.directory, found.is_resumed) == (given.config, given.directory, True)
    assert found.origin == RunOrigin("b" * 64, "c" * 64)
    assert _same(found.texts, given.texts) and _same(found.validation, given.validation)
    assert found.initial is not None and torch.equal(found.initial["head.weight"], torch.ones(2, 3))
    ids = torch.tensor([[3, 5, 7]])
    assert found.backbone.config == TINY
    assert torch.equal(found.backbone(ids), given.backbone(ids))
    assert found.backbone.lm_head.weight is found.backbone.wte.weight
    assert not any(parameter.requires_grad for parameter in found.backbone.parameters())


def test_nothing_to_start_with_stays_nothing(tmp_path: Path) -> None:
    replace(_handed(tmp_path, _texts(5, 2)), initial=None, is_resumed=False, origin=None).write(tmp_path)
    found = HandedRun.read(tmp_path, torch.device("cpu"))
    assert found.initial is None and not found.is_resumed and found.origin is None


def test_a_place_comes_back_as_it_was(tmp_path: Path) -> None:
    place = Place(directory=tmp_path, rank=1, size=3, device="cpu", num_threads=2, timeout_s=1.5)
    assert Place.from_json(place.to_json()) == place
    assert place.meeting.parent == tmp_path
