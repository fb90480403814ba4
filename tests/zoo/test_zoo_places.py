"""``zoo:NAME`` stands for a run folder wherever one is expected, if its files are those of the manifest."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

import gansmith
from gansmith import api, cli
from gansmith.errors import ConfigError, DataError, RunError
from gansmith.report import write_report
from gansmith.runs import RunFolder
from gansmith.training.checkpoint_files import newest_checkpoint, open_checkpoint
from gansmith.zoo import archive
from gansmith.zoo.archive import write_archive
from gansmith.zoo.manifest import find_entry
from gansmith.zoo.places import describe_place, describe_run, entry_name, find_run, is_here, refuse_change

ENTRY = "entries/tiny"


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def move_to_distribution(zoo: Path, patch: pytest.MonkeyPatch) -> Path:
    """Move the entry from gansmith to a gansmith-zoo that is installed; return its folder."""
    site = zoo / "site"
    (site / "gansmith_zoo" / "entries").mkdir(parents=True)
    (site / "gansmith_zoo" / "__init__.py").touch()
    patch.syspath_prepend(str(site))
    shutil.move(zoo / ENTRY, site / "gansmith_zoo" / "entries" / "tiny")
    return site / "gansmith_zoo" / "entries" / "tiny"


# --- use ---------------------------------------------------------------------------------------------------


def test_a_path_stands_for_itself(zoo: Path) -> None:
    assert find_run("runs/mine") == find_run(Path("runs/mine")) == Path("runs/mine")
    assert entry_name(zoo) is None
    assert describe_run(Path("runs/mine")) == "runs/mine"


def test_a_name_stands_for_a_run_folder(zoo: Path) -> None:
    assert find_run("zoo:tiny") == find_run(Path("zoo:tiny")) == zoo / ENTRY
    assert RunFolder.open(Path("zoo:tiny")).path == zoo / ENTRY
    assert (entry_name(zoo / ENTRY), describe_run(zoo / ENTRY)) == ("tiny", "zoo:tiny")
    assert describe_place(find_entry("tiny")) == "in gansmith"


def test_a_run_of_the_same_name_is_no_entry(zoo: Path, tmp_path: Path) -> None:
    mine = tmp_path / "runs" / "tiny"
    shutil.copytree(zoo / ENTRY, mine)
    assert entry_name(mine) is None and describe_run(mine) == str(mine)
    with RunFolder.open(mine).claim():
        pass
    gansmith.evaluate(mine, metrics="fid", extractor="random-conv", num=300)
    assert len(api.open_run(mine).measurements()) == len(api.open_run("zoo:tiny").measurements()) + 1


def test_samples_are_those_of_the_trained_weights_rounded_to_half_precision(zoo: Path, built: Path) -> None:
    run = built / "work" / "runs" / "tiny"
    trained = api.open_run(run).generator()
    for name, weight in (network := trained.network).state_dict().items():
        if weight.dtype == torch.float32:
            network.state_dict()[name].copy_(weight.half().float())
    expected = trained.sample(20, seed=3).images
    ours = api.open_run("zoo:tiny").generator().sample(20, seed=3).images
    np.testing.assert_array_equal(ours, expected)


def test_half_precision_on_disk_is_float32_in_memory(zoo: Path) -> None:
    best = open_checkpoint(zoo / ENTRY / "best")
    assert set(best.tensors) == {"generator_ema", "discriminator"}
    weights = [weight for tensors in best.tensors.values() for weight in tensors.values() if weight.is_floating_point()]
    assert weights and all(weight.dtype == torch.float32 for weight in weights)
    assert all(torch.equal(weight, weight.half().float()) for weight in weights)


def test_the_command_line_samples_and_interpolates(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sample", "zoo:tiny", "--label", "3", "--num", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["class_name"] == "3"
    assert cli.main(["interpolate", "zoo:tiny", "--from-seed", "1", "--to-seed", "2", "--steps", "3"]) == 0
    assert Path("samples.png").exists() and Path("interpolation.png").exists()


def test_an_entry_is_evaluated_and_reported_and_stays_as_it_is(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = digests(zoo / ENTRY)
    words = ["evaluate", "zoo:tiny", "--num", "300", "--metrics", "fid,memorisation", "--extractor", "random-conv"]
    assert cli.main([*words, "--json"]) == 0
    (measured,) = json.loads(capsys.readouterr().out)
    assert measured["generated"]["path"] == "zoo:tiny" and measured["values"]["fid"]["value"] > 0
    assert cli.main(words) == 0
    assert "added to" not in capsys.readouterr().out
    page = write_report(Path("zoo:tiny"))
    assert page == Path("tiny-report.html")
    text = page.read_text(encoding="utf-8")
    assert "gansmith sample zoo:tiny" in text and "gansmith resume" not in text
    assert digests(zoo / ENTRY) == before


def test_an_entry_is_not_resumed(zoo: Path, tmp_path: Path) -> None:
    instead = r"zoo:tiny: an entry of the zoo cannot be resumed; .* gansmith train DATA --init zoo:tiny"
    with pytest.raises(RunError, match=instead):
        api.resume("zoo:tiny")
    with pytest.raises(RunError, match=instead), RunFolder(zoo / ENTRY).claim():
        pass
    refuse_change(tmp_path)


def test_a_training_starts_from_both_networks_of_an_entry(zoo: Path) -> None:
    settings = {"model.width": 4, "model.z_dim": 4, "batch_size": 8, "preparation.size": [8, 8], "penalties": []}
    settings |= {"tracking": None, "guard": None, "length": "1 steps", "generator_optimizer.lr": 1e-12}
    settings |= {"discriminator_optimizer.lr": 1e-12}
    api.train("digits", preset="dcgan-r1", init="zoo:tiny", run="tuned", overrides=settings)
    entry, tuned = open_checkpoint(zoo / ENTRY / "best"), newest_checkpoint(RunFolder(Path("tuned")))[0]
    for ours, theirs in {"generator": "generator_ema", "discriminator": "discriminator"}.items():
        for name, weight in entry.tensors[theirs].items():
            if name.endswith(("weight", "bias")):
                torch.testing.assert_close(tuned.tensors[ours][name], weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize("words", [["--snapshot", "last"], ["--no-ema"]])
def test_an_entry_has_one_generator(zoo: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sample", "zoo:tiny", *words]) == 2
    assert "zoo:tiny: has the averaged weights of one generator only" in capsys.readouterr().err


def test_the_list_says_what_there_is_and_where(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "zoo"]) == 0
    headings, row = capsys.readouterr().out.splitlines()
    assert headings.split()[0] == "name" and len(headings) <= len(row)
    for text in ("zoo:tiny", "8x8", "10", "scikit-learn's digits (BSD-3-Clause)", "random-conv", "in gansmith"):
        assert f" {text}" in f" {row}"
    assert cli.main(["list", "zoo", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)["zoo:tiny"]
    assert (facts["size"], facts["num_classes"], facts["place"]) == ("8x8", 10, "in gansmith")
    assert facts["fid"]["random-conv"] > 0 and facts["num_bytes"] == find_entry("tiny").num_bytes


# --- names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tny", "", "../tiny", "/tmp", "tiny/..", "tiny/best", "..", "TINY", "tiny\n"])
def test_a_name_that_is_not_in_the_manifest_is_refused(zoo: Path, name: str) -> None:
    with pytest.raises(RunError, match=f"^zoo:{re.escape(name)}: the zoo has no entry of this name"):
        find_run(f"zoo:{name}")


def test_a_similar_name_is_suggested(zoo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sample", "zoo:tny"]) == 2
    assert "did you mean 'tiny'? (gansmith list zoo)" in capsys.readouterr().err


def test_a_damaged_manifest_is_one_line(zoo: Path) -> None:
    (zoo / "manifest.json").write_text('{"tiny": {"size": "8x8"}}')
    with pytest.raises(RunError, match=r"manifest.json: cannot be read .*; reinstall gansmith"):
        find_run("zoo:tiny")


# --- files that are not those of the manifest ----------------------------------------------------------------


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_changed_file_is_refused(zoo: Path) -> None:
    flip(zoo / ENTRY / "best" / "generator_ema.safetensors")
    with pytest.raises(
        RunError, match=r"^zoo:tiny: best/generator_ema.safetensors differs from its SHA-256 .*reinstall"
    ):
        api.open_run("zoo:tiny")


def test_a_longer_file_is_refused(zoo: Path) -> None:
    with (zoo / ENTRY / "config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(RunError, match=r"config.json differs"):
        api.open_run("zoo:tiny")


def test_a_missing_file_is_refused(zoo: Path) -> None:
    (zoo / ENTRY / "data.json").unlink()
    with pytest.raises(RunError, match=r"^zoo:tiny: data.json is missing"):
        api.open_run("zoo:tiny")


def test_an_added_checkpoint_is_refused(zoo: Path) -> None:
    shutil.copytree(zoo / ENTRY / "best", zoo / ENTRY / "training_checkpoints" / "000009")
    with pytest.raises(RunError, match=r"training_checkpoints/000009/\S+ does not belong to it"):
        api.open_run("zoo:tiny")


def test_a_link_is_refused(zoo: Path) -> None:
    weights = zoo / ENTRY / "best" / "generator_ema.safetensors"
    weights.rename(zoo / "elsewhere")
    weights.symlink_to(zoo / "elsewhere")
    with pytest.raises(RunError, match="a link or special file"):
        api.open_run("zoo:tiny")


# --- the second and the third place --------------------------------------------------------------------------


def test_an_entry_of_gansmith_zoo_is_found(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = move_to_distribution(zoo, monkeypatch)
    assert find_run("zoo:tiny") == folder
    assert entry_name(folder) == "tiny" and is_here("tiny")
    assert describe_place(find_entry("tiny")) == "in gansmith-zoo"


def test_gansmith_comes_before_gansmith_zoo(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = move_to_distribution(zoo, monkeypatch)
    shutil.copytree(other, zoo / ENTRY)
    assert find_run("zoo:tiny") == zoo / ENTRY
    assert (entry_name(zoo / ENTRY), entry_name(other)) == ("tiny", "tiny")


def test_gansmith_zoo_of_another_version_is_one_line(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = move_to_distribution(zoo, monkeypatch)
    flip(folder / "best" / "generator_ema.safetensors")
    facts = folder.parents[2] / "gansmith_zoo-0.0.7.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: gansmith-zoo\nVersion: 0.0.7\n")
    version = gansmith.__version__
    with pytest.raises(RunError, match=rf"gansmith {version} needs gansmith-zoo {version}, found 0.0.7; install that"):
        find_run("zoo:tiny")
    assert not is_here("tiny")  # so no training starts from it by itself


def test_an_entry_that_is_not_here_says_how_to_get_it(zoo: Path) -> None:
    shutil.rmtree(zoo / ENTRY)
    with pytest.raises(RunError, match="zoo:tiny: not on this machine; install the distribution gansmith-zoo"):
        find_run("zoo:tiny")
    assert describe_place(find_entry("tiny")) == "install gansmith-zoo" and not is_here("tiny")


@pytest.fixture
def server(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a web server that has tiny.zip, and is the only place of the entry."""
    (zoo / "www").mkdir()
    write_archive(zoo / ENTRY, find_entry("tiny").files, zoo / "www" / "tiny.zip")
    shutil.rmtree(zoo / ENTRY)
    handler = partial(QuietHandler, directory=str(zoo / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("GANSMITH_ZOO_URL", f"http://127.0.0.1:{running.server_port}/")
        yield zoo / "www"
        running.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, *_: object) -> None:
        pass


def test_an_entry_is_downloaded_once(server: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert describe_place(find_entry("tiny")) == "to download"
    assert len(api.open_run("zoo:tiny").generator().sample(2)) == 2
    assert describe_place(find_entry("tiny")) == "downloaded"
    monkeypatch.delenv("GANSMITH_ZOO_URL")
    found = find_run("zoo:tiny")
    assert found.parent == tmp_path / "cache" / "zoo" and entry_name(found) == "tiny"
    assert sorted(path.name for path in found.parent.iterdir() if not path.name.endswith(".lock")) == [
        found.name,
        "tiny.zip",
    ]


def test_another_archive_is_refused(server: Path) -> None:
    flip(server / "tiny.zip")
    with pytest.raises(DataError, match=r"sha256 is .* expected .*install the distribution gansmith-zoo"):
        find_run("zoo:tiny")


def _encrypted(path: Path) -> None:
    content = path.read_bytes()
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.index(magic) + flags
        content = content[:at] + bytes([content[at] | 1]) + content[at + 1 :]
    path.write_bytes(content)


def _changed_content(path: Path) -> None:
    content = bytearray(path.read_bytes())
    name_length = int.from_bytes(content[26:28], "little")
    content[30 + name_length] ^= 1
    path.write_bytes(content)


def _unknown_compression(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 99
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        _encrypted,
        _changed_content,
        _unknown_compression,
        lambda path: path.write_bytes(b"no zip"),
        lambda path: zipfile.ZipFile(path, "w").close(),
    ],
)
def test_an_archive_that_cannot_be_unpacked_is_one_line_and_leaves_nothing(
    zoo: Path, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    """Its digest was right: the one who pinned it made a mistake."""
    entry, path, target = find_entry("tiny"), tmp_path / "down" / "tiny.zip", tmp_path / "down" / "tiny"
    path.parent.mkdir()
    write_archive(zoo / ENTRY, entry.files, path)
    spoil(path)
    with pytest.raises(RunError, match=r"tiny\.zip: is not the archive of zoo:tiny \(.*\); delete it$"):
        archive._unpack(entry, path, target)
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_archive_is_one_line(server: Path) -> None:
    (server / "tiny.zip").unlink()
    with pytest.raises(DataError, match=r"cannot download tiny.zip .*HTTP 404"):
        find_run("zoo:tiny")


def test_a_damaged_download_says_what_to_delete(server: Path) -> None:
    folder = find_run("zoo:tiny")
    flip(folder / "config.json")
    with pytest.raises(RunError, match=r"config.json differs .*delete this folder to download it again"):
        find_run("zoo:tiny")
    shutil.rmtree(folder)
    assert find_run("zoo:tiny") == folder


@pytest.mark.parametrize("url", ["file:///etc", "/etc", "ftp://example.org"])
def test_only_the_web_is_read(server: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("GANSMITH_ZOO_URL", url)
    with pytest.raises(RunError, match=r"zoo:tiny: \S+ is no web address; expected https://"):
        find_run("zoo:tiny")


def test_the_same_files_give_the_same_archive(zoo: Path) -> None:
    entry = find_entry("tiny")
    write_archive(zoo / ENTRY, entry.files, zoo / "tiny.zip")
    content = (zoo / "tiny.zip").read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (entry.archive.num_bytes, entry.archive.sha256)


# --- the time to the first picture ---------------------------------------------------------------------------

SLOW = ("torch._dynamo", "scipy.stats", "sklearn", "gansmith.evaluation", "gansmith.report")
SAMPLE = f"""
import sys
from gansmith.cli import main
assert main(["sample", sys.argv[1], "--num", "1"]) == 0
assert not set({SLOW!r}) & set(sys.modules), sorted(set({SLOW!r}) & set(sys.modules))
"""


def test_sampling_imports_nothing_slow(built: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", SAMPLE, str(built / "work" / "half" / "tiny")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_labels_without_a_class_are_refused_by_the_nearest_name(zoo: Path) -> None:
    with pytest.raises(ConfigError, match="no class is called"):
        api.open_run("zoo:tiny").generator().sample(1, label="three")
