"""Files with secrets: private, and never seen half written."""

from pathlib import Path

import pytest

from curta_cli.token_files import write_private


def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "made" / "admin.token"
    write_private(path, "secret")
    assert path.read_text() == "secret\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_an_older_file_is_replaced_even_if_others_could_read_it(tmp_path: Path) -> None:
    path = tmp_path / "admin.token"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new\n", 0o600)
    assert [each.name for each in tmp_path.iterdir()] == ["admin.token"]


def test_nothing_is_left_behind_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "admin.token").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(tmp_path / "admin.token", "secret")
    assert [each.name for each in tmp_path.iterdir()] == ["admin.token"]
