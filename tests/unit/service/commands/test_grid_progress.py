"""How far a grid is: the pace of what is done gives the time for what is left."""

import pytest

from adavae.service.commands.grid_progress import GridProgress, left_text


class Heard:
    """A display that keeps what it was told."""

    def __init__(self) -> None:
        self.updates: list[tuple[str, int, int | None, str]] = []

    def update(self, stage: str, done: int, total: int | None, detail: str = "", *, eta_s: float | None = None) -> None:
        del eta_s
        self.updates.append((stage, done, total, detail))

    def say(self, message: str) -> None:
        raise AssertionError(message)


def test_two_cells_at_once_count_together() -> None:
    now, heard = [0.0], Heard()
    progress = GridProgress(heard, "table2", dict.fromkeys(range(1, 5), 1.0), clock=lambda: now[0])
    one, other = progress.on_cell("yelp: A", 1, 5), progress.on_cell("yelp: B", 2, 5)
    assert progress.left_s is None
    now[0] = 60.0
    one(100, 100, 3.25)
    other(50, 100, 4.0)
    assert progress.left_s == pytest.approx(60.0 / 1.5 * 2.5)
    assert heard.updates[0] == ("1/5 yelp: A", 100, 100, "loss 3.250, all steps done; what follows may take as long")
    assert heard.updates[1] == ("2/5 yelp: B", 50, 100, "loss 4.000, 2 min left for table2")


def test_a_system_of_two_phases_counts_once() -> None:
    now, heard = [0.0], Heard()
    progress = GridProgress(heard, "table3", {1: 1.0, 2: 1.0}, clock=lambda: now[0])
    step = progress.on_cell("yelp: Optimus", 1, 2)
    now[0] = 10.0
    step(8, 8, 1.0)
    step(1, 8, 1.0)  # its head
    assert progress.left_s is not None and progress.left_s > 10.0


def test_a_cell_counts_as_much_as_it_costs() -> None:
    now, heard = [0.0], Heard()
    progress = GridProgress(heard, "table2", {2: 30.0, 3: 90.0}, clock=lambda: now[0])
    cheap = progress.on_cell("yelp: A", 2, 3)
    now[0] = 60.0
    cheap(100, 100, 3.0)
    assert progress.left_s == pytest.approx(180.0)


@pytest.mark.parametrize(("left_s", "text"), [(20, "20 s"), (200, "3 min"), (12_000, "3 h 20 min")])
def test_times_are_told_roughly(left_s: float, text: str) -> None:
    assert left_text(left_s) == text
