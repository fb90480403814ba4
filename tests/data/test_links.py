"""Links out of a folder: left out with a remedy, followed on request if they lead to image files of the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from gansmith.cli import main
from gansmith.data.folder import Folder
from gansmith.errors import DataError


@pytest.fixture
def subset(tmp_path: Path) -> Path:
    """Six links to originals elsewhere."""
    for name in ("originals", "subset"):
        (tmp_path / name).mkdir()
    for i in range(6):
        Image.new("L", (8, 8), 40 * i).save(tmp_path / "originals" / f"{i}.png")
        (tmp_path / "subset" / f"{i}.png").symlink_to(tmp_path / "originals" / f"{i}.png")
    return tmp_path / "subset"


def test_the_remedy_is_named(subset: Path) -> None:
    with pytest.raises(
        DataError, match=r"a link that points outside the folder; --data\.follow_links true reads those"
    ):
        Folder(path=subset).records()
    Image.new("L", (8, 8)).save(subset / "own.png")
    assert any(note.startswith("6 links point outside the folder") for note in Folder(path=subset).records().notes)


def test_links_are_followed_on_request(subset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = Folder(path=subset, follow_links=True).records()
    assert list(records.names) == [f"{i}.png" for i in range(6)] and records.notes == ()
    assert [records.read(i).getpixel((0, 0)) for i in range(6)] == [40 * i for i in range(6)]  # type: ignore[union-attr]
    assert main(["data", "check", str(subset), "--data.follow_links", "true"]) == 0
    assert "images      6 found, 6 readable" in capsys.readouterr().out


def test_what_is_no_image_file_is_not_followed(subset: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("key")
    (subset / "secret.png").symlink_to(tmp_path / "secret")
    (subset / "folder.png").symlink_to(tmp_path / "originals")
    os.mkfifo(tmp_path / "pipe.png")
    (subset / "pipe.png").symlink_to(tmp_path / "pipe.png")
    records = Folder(path=subset, follow_links=True).records()
    assert len(records) == 6
    assert dict(records.skipped) == {
        "secret.png": "a link to a file without an image's suffix",
        "folder.png": "a link to a folder outside; link to its files instead, or give that folder's path",
        "pipe.png": "not a regular file",
    }


def test_files_of_another_user_are_not_followed(subset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(DataError, match="a link to a file that another user owns"):
        Folder(path=subset, follow_links=True).records()
