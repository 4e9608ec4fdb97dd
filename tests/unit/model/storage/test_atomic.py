"""Crash-safe writing: full disks, interruptions, existing destinations."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adavae.model.errors import AdapterSetExists, StorageFull
from adavae.model.storage.atomic import publish_directory, remove_leftovers, staging_directory, write_atomically


def _write_that_fills_up(code: int) -> Callable[[int, memoryview], int]:
    """os.write on a disk with room for three more bytes."""
    real, room = os.write, [3]

    def write(descriptor: int, content: memoryview) -> int:
        if room[0] == 0:
            raise OSError(code, os.strerror(code))
        room[0] = 0
        return real(descriptor, content[:3])

    return write


def test_a_file_is_written_whole_and_alone(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"content")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"content"}


def test_an_empty_file_can_be_written(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"")
    assert (tmp_path / "file").read_bytes() == b""


def test_a_written_file_has_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    (tmp_path / "usual").write_bytes(b"")
    write_atomically(tmp_path / "file", b"content")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr("os.write", lambda descriptor, content: real(descriptor, content[:2]))
    write_atomically(tmp_path / "file", b"seven b")
    assert (tmp_path / "file").read_bytes() == b"seven b"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file_and_says_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr("os.write", _write_that_fills_up(code))
    with pytest.raises(StorageFull, match=r"file needs 2,000 bytes and the disk has [\d,]+ free .* make room"):
        write_atomically(path, b"x" * 2000)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_that_is_found_full_only_when_syncing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(StorageFull):
        write_atomically(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_other_errors_pass_and_leave_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "directory", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_descriptor: int, _content: memoryview) -> int:
        raise KeyboardInterrupt

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr("os.write", write)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_a_published_directory_appears_under_its_name_alone(tmp_path: Path) -> None:
    with staging_directory(tmp_path / "root") as staging:
        (staging / "part").mkdir()
        write_atomically(staging / "part" / "file", b"content")
        publish_directory(staging, tmp_path / "root" / "name" / "version")
    assert (tmp_path / "root" / "name" / "version" / "part" / "file").read_bytes() == b"content"
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["name"]


@pytest.mark.parametrize("has_content", [True, False])
def test_an_existing_destination_is_refused_and_not_touched(tmp_path: Path, has_content: bool) -> None:
    destination = tmp_path / "taken"
    destination.mkdir()
    if has_content:
        (destination / "file").write_bytes(b"old")
    with (
        pytest.raises(AdapterSetExists, match="taken is there already"),
        staging_directory(tmp_path) as staging,
    ):
        (staging / "file").write_bytes(b"new")
        publish_directory(staging, destination)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert [path.read_bytes() for path in destination.iterdir()] == ([b"old"] if has_content else [])


def test_a_destination_made_by_another_at_the_last_moment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.rename

    def rename(source: Path, destination: Path) -> None:
        destination.mkdir()
        (destination / "file").write_bytes(b"theirs")
        real(source, destination)

    monkeypatch.setattr("os.rename", rename)
    with pytest.raises(AdapterSetExists), staging_directory(tmp_path) as staging:
        (staging / "file").write_bytes(b"ours")
        publish_directory(staging, tmp_path / "taken")
    assert (tmp_path / "taken" / "file").read_bytes() == b"theirs"


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
def test_staging_is_removed_whatever_happens_inside(tmp_path: Path, raised: type[BaseException]) -> None:
    with pytest.raises(raised), staging_directory(tmp_path) as staging:
        (staging / "file").write_bytes(b"content")
        raise raised
    assert list(tmp_path.iterdir()) == []


def test_unpublished_staging_is_removed(tmp_path: Path) -> None:
    with staging_directory(tmp_path) as staging:
        (staging / "file").write_bytes(b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_while_staging_by_other_means_is_reported_too(tmp_path: Path) -> None:
    with pytest.raises(StorageFull, match="make room"), staging_directory(tmp_path / "root"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list((tmp_path / "root").iterdir()) == []


def test_a_full_disk_while_publishing_leaves_no_destination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageFull, match="needs 7 bytes"), staging_directory(tmp_path) as staging:
        (staging / "file").write_bytes(b"content")
        monkeypatch.setattr("os.fsync", fsync)
        publish_directory(staging, tmp_path / "destination")
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kept").mkdir()
    with monkeypatch.context() as killed:
        killed.setattr("shutil.rmtree", lambda *_, **__: None)
        killed.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        killed.setattr("os.replace", lambda *_: None)
        with staging_directory(tmp_path) as staging:
            write_atomically(staging / "file", b"content")
        write_atomically(tmp_path / "file", b"content")
    assert len(list(tmp_path.iterdir())) == 3
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
