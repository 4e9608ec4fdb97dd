"""The audit of pinned versions finds what its list knows, and says where it could not look."""

import json
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.audit import ADVISORIES, PINNED, Advisories, faults, main, pins


def listed(path: Path, as_of: str = "2026-11-26", **fields: str) -> Path:
    advisory = {
        "id": "CVE-1",
        "package": "Some.Package",
        "from": "1.2",
        "before": "1.10",
        "about": "it fails",
        **fields,
    }
    path.write_text(json.dumps({"as_of": as_of, "advisories": [advisory]}), encoding="utf-8")
    return path


def pinned(path: Path, *lines: str) -> Path:
    path.write_text("# some\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_no_pinned_version_has_a_known_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    assert ": 0 apply" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("version", "is_found"),
    [("1.1.9", False), ("1.2", True), ("1.2.0.post1", True), ("1.9.3", True), ("1.10", False), ("2.0+cpu", False)],
)
def test_a_version_within_the_range_is_found_whatever_its_name_is_spelt_like(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str, is_found: bool
) -> None:
    files = (pinned(tmp_path / "pins.txt", "other==1.5", f"some-package=={version} \\", "    --hash=sha256:00"),)
    assert main(listed(tmp_path / "list.json"), files) == int(is_found)
    said = capsys.readouterr().out
    assert ("some-package" in said) == is_found
    assert "2 versions, 1 advisories known on 2026-11-26" in said


def test_what_cannot_be_read_is_no_audit_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "none.json", listed(tmp_path / "list.json", before="soon")):
        assert main(path) == 0
        assert "audit: it could not run" in capsys.readouterr().out


def test_an_old_list_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(listed(tmp_path / "list.json", as_of="2020-01-01"), ()) == 0
    assert "days old: collect it anew" in capsys.readouterr().out


def test_every_advisory_is_about_something_that_is_installed_and_would_be_found() -> None:
    advisories = Advisories.read(ADVISORIES)
    names = {canonicalize_name(name) for path in PINNED for name, _ in pins(path)}
    assert {canonicalize_name(each.package) for each in advisories.all} <= names
    assert len({each.id for each in advisories.all}) == len(advisories.all)
    for each in advisories.all:
        assert each.first < each.fixed
        assert each.is_about(each.package, each.first) and not each.is_about(each.package, each.fixed)
    assert faults(advisories, PINNED) == []
    assert all(isinstance(version, Version) for path in PINNED for _, version in pins(path))
