"""What of a grid could not be run, and why: told once of a data set, however many cells read it."""

from dataclasses import dataclass, field
from pathlib import Path

from adavae.model.errors import CellFailed


@dataclass(frozen=True, slots=True)
class Failures:
    """Grows as a grid is run.

    Attributes:
        of_folders: Why a data set cannot be used, by its folder; its other cells are not tried.
        of_cells: Why a cell was not run, by its number in the grid.
    """

    of_folders: dict[Path, str]
    of_cells: dict[int, str] = field(default_factory=dict)

    def has_passed_over(self, number: int, folder: Path) -> bool:
        """Counts a cell of a data set that cannot be used as failed; False where it can be, as far as is known."""
        if folder in self.of_folders:
            self.of_cells[number] = self.of_folders[folder]
        return folder in self.of_folders

    def add(self, number: int, reason: str) -> None:
        """One cell."""
        self.of_cells[number] = reason

    def add_folder(self, number: int, folder: Path, reason: str) -> None:
        """A data set, which the cell was the first to read."""
        self.of_folders.setdefault(folder, reason)
        self.has_passed_over(number, folder)

    def refuse(self, num_cells: int) -> None:
        """Raises CellFailed if there are any."""
        if self.of_cells:
            told = "; ".join(dict.fromkeys(self.of_cells.values()))
            raise CellFailed(f"{len(self.of_cells)} of {num_cells} cells could not be run: {told}")
