"""A grid's cells in several processes at once, each with its own copy of the backbone; the parent alone writes.

A process ends with its parent: a step is reported over a pipe that then is broken.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from adavae.model.errors import CellFailed, DatasetError
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.reproduction.data_folder import DataFolder
from adavae.model.training.reproduction.failures import Failures
from adavae.model.training.reproduction.grid import NO_FAULTS, Cell, Grid, OnCell, Task, append, begin
from adavae.model.training.reproduction.rows import OnStep

Load = Callable[[], PretrainedBackbone]


@dataclass(frozen=True, slots=True)
class _Step:
    """A process is at this step of its cell."""

    step: int
    steps: int
    loss: float


_Answer = _Step | Cell | DatasetError | CellFailed


@dataclass(slots=True)
class _Worker:
    """One process, the cell it is at, and those that it alone will be given, by number."""

    process: SpawnProcess
    connection: Connection
    kept: deque[tuple[int, Task]]
    number: int = 0
    task: Task | None = None
    on_step: OnStep | None = None


def run_grid_in_processes(
    grid: Grid,
    digest: str,
    load: Load,
    num_workers: int,
    on_cell: OnCell,
    faults: Mapping[Path, str] = NO_FAULTS,
) -> Iterator[Cell]:
    """As ``grid.run_grid``, ``num_workers`` cells at once; yields all cells in the grid's order at the end.

    A process that ends by itself is not replaced: where memory was short, the others then have more of it.

    Args:
        grid: What to run.
        digest: Of the backbone.
        load: Loads it in each process; spawned, so it can be pickled.
        num_workers: Processes, which share torch's threads.
        on_cell: Called before each cell that is run.
        faults: As ``grid.unusable`` gives them; others are found when their turn comes.

    Raises:
        DatasetError: There is no data set, or none that has enough texts for a row.
        ConfigError: The table's file cannot be written, or holds something else.
        CellFailed: After all others, which cells could not be run, and why.
    """
    finished, tasks = begin(grid), dict(enumerate(grid.tasks(), 1))
    keys = {number: task.key(digest) for number, task in tasks.items()}
    cells = {number: finished[key] for number, key in keys.items() if key in finished}
    failures = Failures(dict(faults))
    left = [(number, task) for number, task in tasks.items() if number not in cells]
    waiting = grouped([(number, task) for number, task in left if not failures.has_passed_over(number, task.folder)])
    num_workers = min(num_workers, len(waiting))
    workers = [_started(load, max(1, torch.get_num_threads() // num_workers)) for _ in range(num_workers)]

    def give(worker: _Worker) -> None:
        if not worker.process.is_alive():
            waiting.extendleft([worker.kept] if worker.kept else [])
            worker.kept = deque()
            return
        if (following := _following(worker, waiting, failures)) is not None:
            worker.number, worker.task = following
            worker.on_step = on_cell(grid.task_name(worker.task), worker.number, len(tasks))
            with suppress(BrokenPipeError):  # it is dead, which its answer will be
                worker.connection.send(worker.task)

    try:
        for worker in workers:
            give(worker)
        while busy := [worker for worker in workers if worker.task is not None]:
            for worker in _heard(busy):
                answer = _answer(worker)
                if isinstance(answer, _Step):
                    assert worker.on_step is not None  # it has a cell
                    worker.on_step(answer.step, answer.steps, answer.loss)
                    continue
                assert worker.task is not None  # only those that have one are listened to
                folder, worker.task = worker.task.folder, None
                if isinstance(answer, Cell):
                    append(grid.file, answer)
                    cells[worker.number] = answer
                elif isinstance(answer, DatasetError):
                    failures.add_folder(worker.number, folder, str(answer))
                else:
                    failures.add(worker.number, str(answer))
                give(worker)
                for idle in (each for each in workers if each.task is None and each.process.is_alive()):
                    give(idle)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()
    for number, task in (each for group in waiting for each in group):
        if not failures.has_passed_over(number, task.folder):
            failures.add(number, f"{grid.task_name(task)}: no process was left for it")
    yield from (cells[number] for number in tasks if number in cells)
    failures.refuse(len(tasks))


def grouped(tasks: Sequence[tuple[int, Task]]) -> deque[deque[tuple[int, Task]]]:
    """Numbered cells that one process runs one after the other: those of one beginning, which it then trains once.

    The largest group comes first, so that no process is left with it when the others have ended.
    """
    groups: dict[Hashable, deque[tuple[int, Task]]] = {}
    for number, task in tasks:
        groups.setdefault(task.beginning or number, deque()).append((number, task))
    return deque(sorted(groups.values(), key=len, reverse=True))


def _following(worker: _Worker, waiting: deque[deque[tuple[int, Task]]], failures: Failures) -> tuple[int, Task] | None:
    """What a process runs next: of the cells that are kept for it, else of the first group that waits."""
    while worker.kept or waiting:
        if not worker.kept:
            worker.kept = waiting.popleft()
        number, task = worker.kept.popleft()
        if not failures.has_passed_over(number, task.folder):
            return number, task
    return None


def _started(load: Load, num_threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_process, args=(theirs, load, num_threads), daemon=True)
    process.start()
    theirs.close()  # so that the pipe ends with the process
    return _Worker(process, ours, deque())


def _heard(workers: list[_Worker]) -> Iterator[_Worker]:
    """Those that have said something; waits for one."""
    ready = wait([worker.connection for worker in workers])
    return (worker for worker in workers if worker.connection in ready)


def _answer(worker: _Worker) -> _Answer:
    try:
        answer: _Answer = worker.connection.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        assert worker.task is not None  # only those that have one are listened to
        name = f"{worker.task.folder.name}: {worker.task.row.name}: "
        return CellFailed(
            f"{name}its process ended with code {worker.process.exitcode}, perhaps for want of memory: repeat the "
            "command with fewer workers; it goes on from what is finished"
        )
    return answer


def _process(connection: Connection, load: Load, num_threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    serve(connection, load, num_threads)


def serve(connection: Connection, load: Load, num_threads: int) -> None:
    """Runs cells: they come in over the pipe until the parent is gone; steps, measured cells and failures go out."""
    parent = _Parent(connection)
    pretrained: PretrainedBackbone | None = None
    data: DataFolder | None = None
    with suppress(_ParentGone):
        while True:
            task = parent.next_task()
            try:
                if pretrained is None:
                    pretrained = load()
                    torch.set_num_threads(num_threads)
                data = task.data(pretrained, data)
                device = pretrained.backbone.wte.weight.device
                answer: _Answer = task.run(data, pretrained, device, lambda *step: parent.tell(_Step(*step)))
            except _ParentGone:
                raise
            except DatasetError as exc:
                answer = DatasetError(task.failure(exc))
            except Exception as exc:  # the parent raises it, told in words
                answer = CellFailed(task.failure(exc))
            parent.tell(answer)


class _ParentGone(Exception):
    """The pipe has no other end; what a row raises of a connection of its own is not this."""


@dataclass(frozen=True, slots=True)
class _Parent:
    """The process that gives the cells, at the other end of a pipe."""

    connection: Connection

    def next_task(self) -> Task:
        """Waits for it; a pipe whose parent was killed with an answer unread is reset."""
        try:
            task: Task = self.connection.recv()
        except (EOFError, ConnectionError) as exc:
            raise _ParentGone from exc
        return task

    def tell(self, answer: _Answer) -> None:
        try:
            self.connection.send(answer)
        except ConnectionError as exc:
            raise _ParentGone from exc
