"""What is sent piece by piece is what it was, whatever happens to its files meanwhile."""

import io
import tarfile
from pathlib import Path

import pytest

from adavae.service.downloads import download_archive, download_file, download_of

CONTENT = bytes(range(256)) * 4096


def test_a_file_is_sent_whole_in_pieces_though_it_is_deleted_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_bytes(CONTENT)
    download = download_file(path.open("rb"))
    path.unlink()
    pieces = list(download.pieces)
    download.close()
    assert b"".join(pieces) == CONTENT
    assert max(map(len, pieces)) <= 128 * 1024
    assert download.num_bytes == len(CONTENT)


@pytest.mark.parametrize("sizes", [(0,), (1, 511, 512, 513), (300_000, 7)])
def test_an_archive_holds_its_files_and_any_program_reads_it(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    members = {}
    for number, size in enumerate(sizes):
        path = tmp_path / str(number)
        path.write_bytes(CONTENT[:size])
        members[f"name/version/file-{number}"] = path
    download = download_archive(members)
    packed = b"".join(download.pieces)
    download.close()
    assert download.num_bytes is None
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        assert tar.getnames() == list(members)
        for member, size in zip(tar.getmembers(), sizes, strict=True):
            file = tar.extractfile(member)
            assert file is not None
            assert file.read() == CONTENT[:size]
            assert member.mode == 0o644


def test_an_archive_of_a_file_that_changes_its_size_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(CONTENT)
    download = download_archive({"a": path})
    next(download.pieces)
    path.write_bytes(b"")
    with pytest.raises(OSError, match=r"a had 1048576 bytes and then"):
        list(download.pieces)
    download.close()


def test_a_file_that_is_not_there_leaves_none_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(FileNotFoundError):
        download_archive({"a": tmp_path / "a", "b": tmp_path / "b"})


def test_what_is_in_memory_is_sent_the_same_way() -> None:
    assert b"".join(download_of(CONTENT).pieces) == CONTENT
