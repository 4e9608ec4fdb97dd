"""What is added to the paper: what is off is really off, every way is measured once, and the page shows what came."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from adavae.model import latent_ops
from adavae.model.errors import AdapterSetMismatch, ConfigError, DatasetError
from adavae.model.latent.steering import ANY
from adavae.model.operations import writing
from adavae.model.training.latent_cases import Group, Judges
from adavae.model.training.operations import AsServed
from adavae.model.training.reproduction import additions_table
from adavae.model.training.reproduction.addition_cells import (
    AdditionCell,
    Asked,
    finished_additions,
    of_last_measured,
    run_additions,
)
from adavae.model.training.reproduction.additions import ADDITIONS, Addition
from adavae.model.training.reproduction.page import page
from adavae.model.training.reproduction.scale import ScaleName
from tests.tiny import PREFIXED
from tests.tiny_prior import tiny_text_model_with_priors
from tests.tiny_text import as_tsv, reviews, tiny_text_model

NAME = "prefixed"
TEXTS = reviews(6).texts
OF = {
    group: [each for each in ADDITIONS if each.group is group] for group in (Group.DRAWS, Group.WALKS, Group.ANALOGIES)
}


def drawn(addition: Addition, num: int = 4000) -> torch.Tensor:
    model = addition.model(tiny_text_model_with_priors(), NAME)
    return model.carry_out(writing.drawn(model.space_of(NAME), num, 3, ANY, addition.steering), NAME)


def test_the_papers_prior_is_the_standard_normal_and_the_others_are_not() -> None:
    z = drawn(OF[Group.DRAWS][0])
    assert z.mean(0).abs().max() < 0.08 and torch.cov(z.T).sub(torch.eye(z.shape[1])).abs().max() < 0.12
    gaussian = drawn(OF[Group.DRAWS][2])
    prior = tiny_text_model_with_priors().space_of(NAME).prior
    assert prior is not None
    torch.testing.assert_close(gaussian.mean(0), prior.mean, atol=0.08, rtol=0.0)
    torch.testing.assert_close(gaussian.std(0), prior.std, atol=0.08, rtol=0.0)
    assert prior.mean.abs().min() > 0.3  # so that the two differ
    flow, drawn_in = (drawn(each, 20) for each in OF[Group.DRAWS][3:])
    torch.testing.assert_close(drawn_in, prior.truncate(flow, 0.95))
    assert not torch.allclose(flow, gaussian[:20], atol=0.1)


def test_a_diagonal_gaussian_is_the_sets_own() -> None:
    space = tiny_text_model_with_priors().space_of(NAME)
    torch.testing.assert_close(drawn(OF[Group.DRAWS][1], 9), space.fitted.sample(9, 3))


def test_a_walk_with_everything_off_is_the_decoded_straight_line() -> None:
    model = tiny_text_model_with_priors()
    straight, *others = (each.operations(model, NAME) for each in OF[Group.WALKS])
    ends = straight.encode(TEXTS[:2]).mu
    line = straight.decode(latent_ops.interpolate(ends[0], ends[1], 9))
    assert straight.interpolate([(TEXTS[0], TEXTS[1])], 9) == [line]
    assert all(other.interpolate([(TEXTS[0], TEXTS[1])], 9) != [line] for other in others)


def test_an_analogy_with_everything_off_is_the_decoded_difference() -> None:
    model = tiny_text_model_with_priors()
    mu, space = model.encode(TEXTS, NAME).mu, model.space_of(NAME)
    assert space.prior is not None
    prior = replace(space.prior, label_means=mu[:2])  # what the first two texts show is a change of label
    model = model.with_prior(NAME, space.fitted, prior)
    plain, *others = (each.operations(model, NAME) for each in OF[Group.ANALOGIES])
    written = plain.decode(mu + mu[1] - mu[0])
    assert plain.analogy(TEXTS[0], TEXTS[1], TEXTS) == written
    assert all(other.analogy(TEXTS[0], TEXTS[1], TEXTS) != written for other in others)


def test_the_last_way_of_each_group_is_what_a_request_gets() -> None:
    model = tiny_text_model_with_priors()
    served = AsServed(model, NAME)
    draws, walks, analogies = (ways[-1].operations(model, NAME) for ways in OF.values())
    assert draws.draw(5, 0) == served.draw(5, 0)
    assert walks.interpolate([(TEXTS[0], TEXTS[1])], 5) == served.interpolate([(TEXTS[0], TEXTS[1])], 5)
    assert analogies.analogy(*TEXTS[:2], TEXTS[2:]) == served.analogy(*TEXTS[:2], TEXTS[2:])


def asked_in(directory: Path) -> Asked:
    folder = directory / "yelp"
    folder.mkdir()
    for seed, (split, num) in enumerate((("train", 200), ("valid", 60))):
        (folder / f"{split}.tsv").write_text(as_tsv(reviews(num, seed)), encoding="utf-8")
    model = tiny_text_model_with_priors()
    return Asked(model, NAME, "b" * 64, folder, ScaleName.SMOKE, 0, directory / "output")


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return asked_in(tmp_path)


def run(asked: Asked) -> tuple[list[AdditionCell], list[str]]:
    """The cells, and which were measured for them."""
    stages: list[str] = []
    cells = list(run_additions(asked, lambda stage, *_: stages.append(stage.partition(":")[0])))
    return cells, list(dict.fromkeys(stages))


@dataclass(frozen=True)
class Finished:
    asked: Asked
    cells: list[AdditionCell]
    begun: list[str]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Everything measured once."""
    asked = asked_in(tmp_path_factory.mktemp("finished"))
    return Finished(asked, *run(asked))


def test_every_way_is_measured_once_and_its_line_holds_no_text(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = finished.cells
    assert [(cell.group, cell.row) for cell in cells] == [(str(each.group), each.name) for each in ADDITIONS]
    assert finished.begun == [f"{number}/14 {each.name}" for number, each in enumerate(ADDITIONS, 1)]
    assert finished_additions(finished.asked.output) == cells
    assert all(isinstance(figure, int | float) for cell in cells for figure in cell.figures.values())
    lines = finished.asked.file.read_text("utf-8")
    assert not any(text in lines for text in reviews(60, 1).texts)
    monkeypatch.setattr(Judges, "of", lambda *_: pytest.fail("nothing is left to judge"))
    assert run(finished.asked) == (cells, [])


def test_after_a_kill_what_is_missing_is_measured_and_nothing_else(finished: Finished, tmp_path: Path) -> None:
    killed = replace(finished.asked, output=tmp_path)
    lines = finished.asked.file.read_bytes().splitlines(keepends=True)
    killed.file.write_bytes(b"".join(lines[:12]) + lines[12][:40])
    again, begun = run(killed)
    assert begun == finished.begun[12:]
    assert [cell.figures for cell in again] == [cell.figures for cell in finished.cells]
    assert finished_additions(tmp_path) == again


def test_other_cases_sets_and_texts_are_other_cells(asked: Asked) -> None:
    first = ADDITIONS[0]
    keys = {
        asked.cell(first).key,
        replace(asked, seed=1).cell(first).key,
        replace(asked, name="pooled").cell(first).key,
    }
    keys |= {replace(asked, backbone="c" * 64).cell(first).key, asked.cell(ADDITIONS[1]).key}
    keys.add(replace(asked, scale=ScaleName.CPU).cell(first).key)
    (asked.folder / "valid.tsv").write_text(as_tsv(reviews(61, 1)), encoding="utf-8")
    keys.add(asked.cell(first).key)
    assert len(keys) == 7


def test_texts_without_labels_leave_out_analogies(asked: Asked) -> None:
    for split, seed in (("train", 0), ("valid", 1)):
        (asked.folder / f"{split}.tsv").unlink()
        (asked.folder / f"{split}.txt").write_text("\n".join(reviews(40, seed).texts), encoding="utf-8")
    cells, _ = run(asked)
    assert [cell.group for cell in cells] == ["draws"] * 5 + ["walks"] * 4


def test_what_cannot_be_measured_is_refused_before_anything_is(asked: Asked) -> None:
    with pytest.raises(AdapterSetMismatch, match="no flow to switch on and off"):
        run(replace(asked, text_model=tiny_text_model({NAME: PREFIXED})))
    with pytest.raises(DatasetError, match=r"has no valid\.tsv"):
        run(replace(asked, folder=asked.output))
    asked.output.mkdir()
    asked.file.write_text('{"row": "x"}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="line 1 is no cell"):
        run(asked)


def at_scale_cpu(asked: Asked, **figures: float) -> list[AdditionCell]:
    """As if it had been measured."""
    of_scale = replace(asked, scale=ScaleName.CPU)
    return [replace(of_scale.cell(each), figures=figures, seconds=90.0) for each in ADDITIONS]


def test_the_page_has_every_way_beside_the_papers(asked: Asked) -> None:
    cells = at_scale_cpu(asked, moved=0.5, moved_worst=0.25)
    cells[0].figures.update({"fluency.nats": 3.456, "fluency.real_nats": 3.5})
    text = page([], {}, of_last_measured(list(reversed(cells))))
    section = text[text.index("## Beyond the paper") :]
    assert "```sh\nadavae reproduce additions --data DATA --scale cpu --adapter prefixed\n```" in section
    names = [each.name for each in ADDITIONS]
    assert [
        name for line in section.splitlines() if (name := line.split(" | ")[0].removeprefix("| ")) in names
    ] == names
    assert "| N(0, I), as in the paper | 3.46 (3.50) | - (-) |" in section
    assert "| c + b - a, as in the paper | 0.50 (0.25) | - (-) |" in section
    told = ("1,000 texts drawn", "100 walks of 11 sentences", "20 pairs a, b each way", "each on 25 sentences c")
    assert all(each in section for each in told)
    assert "21.0 minutes of one core." in section and "Not run yet" not in section


def test_the_page_leaves_out_what_is_no_evidence_and_what_is_of_before(asked: Asked) -> None:
    cells = at_scale_cpu(asked)
    former = [replace(cells[1], procedures=0), replace(cells[2], settings={"refine": 0.9}), replace(cells[3], row="x")]
    others = [replace(cells[4], seed=7), replace(cells[4], files="old"), replace(cells[4], cases={"num_draws": 9})]
    assert of_last_measured([*others, *former, asked.cell(ADDITIONS[5]), cells[0]]) == [cells[0]]
    assert of_last_measured(former) == []
    assert "Not run yet: draws: N(0, I), as in the paper; walks: straight" in page([], {}, cells[1:5] + cells[6:])
    assert "Not run yet:\n\n```sh\nadavae reproduce additions --data DATA\n```\n" in page([], {})


def test_the_figures_that_are_shown_are_measured(finished: Finished) -> None:
    for cell in finished.cells:
        for measure in additions_table.MEASURES[cell.group]:
            assert measure.figure in cell.figures, measure
            assert not measure.beside or measure.beside in cell.figures, measure
    records = additions_table.records(finished.cells)
    assert json.loads(json.dumps(records)) == records
