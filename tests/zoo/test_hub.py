"""``hf:user/name`` against a Hub on loopback, with the real huggingface_hub: use, refusals, upload."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_hub import TOKEN, FakeHub, serve_fake_hub
from safetensors.torch import load, save

from gansmith import api, cli
from gansmith.deploy.publication import write_hub_folder
from gansmith.errors import ExportError, MissingExtra, RunError
from gansmith.report import write_report
from gansmith.runs import RunFolder
from gansmith.training.checkpoint_files import open_checkpoint
from gansmith.zoo.content import choose_files, inspect_content
from gansmith.zoo.places import describe_run, entry_name, find_run
from gansmith.zoo.repositories import parse_repository

pytest.importorskip("huggingface_hub")
from huggingface_hub import constants

NAME, BEST = "ann/tiny", "best/generator_ema.safetensors"


@pytest.fixture(scope="module")
def files(built: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a folder for the Hub, by path."""
    out = tmp_path_factory.mktemp("hub") / "tiny"
    write_hub_folder(RunFolder.open(built / "entries" / "tiny"), out, license_id="MIT", repository=NAME)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def server() -> Iterator[FakeHub]:
    with serve_fake_hub() as hub:
        yield hub


@pytest.fixture
def hub(server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    server.repositories, server.served, server.large, server.objects, server.failing = {}, {}, set(), {}, 0
    server.requests.clear()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("GANSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    return server


def all_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- use ---------------------------------------------------------------------------------------------------


def test_a_repository_is_a_run(hub: FakeHub, files: dict[str, bytes], built: Path, tmp_path: Path) -> None:
    hub.large = {".safetensors", ".png"}  # those are behind a redirect
    commit = hub.add(NAME, {**files, "notes.txt": b"mine", "train.py": b"raise SystemExit", ".gitattributes": b""})
    folder = find_run(Path(f"hf:{NAME}"))
    assert folder.name == commit and describe_run(folder) == f"hf:{NAME}@{commit}" and entry_name(folder) == "tiny"
    assert all_files(folder) == sorted(files), "only known names are downloaded"
    ours = api.open_run(f"hf:{NAME}").generator().sample(5).images
    assert np.array_equal(ours, api.open_run(built / "entries" / "tiny").generator().sample(5).images)
    assert cli.main(["sample", f"hf:{NAME}", "--num", "3", "--out", "s.npz"]) == 0
    assert np.array_equal(np.load("s.npz")["images"], ours[:3])
    assert write_report(Path(f"hf:{NAME}")) == Path("tiny-report.html")
    with pytest.raises(
        RunError, match=rf"hf:{NAME}@{commit}: a downloaded model cannot be resumed; start .* --init hf:"
    ):
        api.resume(f"hf:{NAME}")
    assert all_files(folder) == sorted(files), "nothing is written into it"
    downloads = [path for _, path, _ in hub.requests if "/resolve/" in path]
    assert len(downloads) == len(files), "each file once"


def test_revisions_are_resolved_and_recorded(hub: FakeHub, files: dict[str, bytes]) -> None:
    old = hub.add(NAME, files)
    hub.repositories[NAME].branches["v1"] = old
    new = hub.add(NAME, {**files, "README.md": b"newer"})
    assert find_run(f"hf:{NAME}@v1").name == old and find_run(f"hf:{NAME}").name == new
    assert find_run(f"hf:{NAME}@{old}").name == old
    known = json.loads((find_run(f"hf:{NAME}").parent / "revisions.json").read_text())
    assert (known["main"], known["v1"]) == (new, old)
    newest = hub.add(NAME, {**files, "README.md": b"newest"})
    assert find_run(f"hf:{NAME}").name == newest


def test_offline_the_cache_is_used(
    hub: FakeHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    commit = hub.add(NAME, files)
    find_run(f"hf:{NAME}")
    hub.requests.clear()
    assert find_run(f"hf:{NAME}@{commit}").name == commit and not hub.requests, "a commit needs no network"
    hub.failing = 503
    assert find_run(f"hf:{NAME}").name == commit
    hub.failing = 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_run(f"hf:{NAME}").name == commit
    with pytest.raises(
        RunError, match="hf:ann/other: HF_HUB_OFFLINE is set, and it is not in the cache; unset it once"
    ):
        find_run("hf:ann/other")
    monkeypatch.undo()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # another Hub, of which nothing is known
    with pytest.raises(RunError, match=r"hf:ann/tiny: http://127.0.0.1:9 cannot be reached \(offline\? ConnectError\)"):
        find_run(f"hf:{NAME}")


def test_without_huggingface_hub_the_cache_is_used_or_the_command_printed(
    hub: FakeHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.add(NAME, files)
    find_run(f"hf:{NAME}")
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    assert find_run(f"hf:{NAME}").name == commit
    with pytest.raises(MissingExtra, match=r"huggingface_hub is needed .* pip install 'gansmith\[hub\]'"):
        find_run("hf:ann/other")


def test_a_private_repository_needs_a_token_that_is_never_printed(
    hub: FakeHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.add(NAME, files)
    hub.repositories[NAME].private = True
    monkeypatch.setenv("HF_TOKEN", "hf_wrongwrongwrong")
    assert cli.main(["sample", f"hf:{NAME}"]) == 2
    printed = capfd.readouterr()
    line = "hf:ann/tiny: the Hub refuses access (HTTP 401); set HF_TOKEN, or log in with: hf auth login"
    assert line in printed.err and "hf_wrong" not in printed.out + printed.err and "server text" not in printed.err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert find_run(f"hf:{NAME}").is_dir()
    assert {given for _, path, given in hub.requests if "/resolve/" in path} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hub: hub.repositories.clear(), "the Hub refuses access (HTTP 401); set HF_TOKEN"),
        (lambda hub: setattr(hub.repositories[NAME], "gated", True), "its owner grants access on request"),
        (lambda hub: setattr(hub, "failing", 429), "answers HTTP 429"),
        (lambda hub: setattr(hub, "failing", 500), "cannot be reached (offline? HTTP 500)"),
        (
            lambda hub: hub.served.update({"config.json": b"{}"}),
            "config.json differs from the digest that the Hub lists",
        ),
        (lambda hub: hub.served.update({"config.json": b"x" * 10**6}), "config.json differs from the digest"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    hub: FakeHub, files: dict[str, bytes], change: Callable[[FakeHub], object], message: str, tmp_path: Path
) -> None:
    hub.add(NAME, files)
    change(hub)
    with pytest.raises(RunError) as caught:
        find_run(f"hf:{NAME}")
    text = str(caught.value)
    assert text.startswith(f"hf:{NAME}: ") and message in text and "\n" not in text and "server text" not in text
    assert not any(tmp_path.glob("cache/hub/**/*")), "nothing is kept"


def test_an_unknown_revision_is_one_line(hub: FakeHub, files: dict[str, bytes]) -> None:
    hub.add(NAME, files)
    with pytest.raises(
        RunError, match=r"^hf:ann/tiny@v9: the repository has no such revision; name a branch, a tag or"
    ):
        find_run(f"hf:{NAME}@v9")


@pytest.mark.parametrize(
    "typed",
    ["hf:", "hf:ann", "hf:../../etc/passwd", "hf:ann/..", "hf:ann/a--b", "hf:ann/x@", "hf:ann/x@../y", "hf:ann/x@-o",
     "hf:ann/x y", "hf:/etc/passwd", "hf:ann/x/y", "hf:ann/x\n"],
)  # fmt: skip
def test_other_names_are_refused_before_anything_is_asked(hub: FakeHub, typed: str) -> None:
    with pytest.raises(RunError, match="is no repository; expected hf:user/name or user/name@revision"):
        find_run(typed)
    assert not hub.requests


def test_names_are_parsed() -> None:
    assert str(parse_repository("hf:a-b/c.d_e@refs/pr/1")) == "hf:a-b/c.d_e@refs/pr/1"
    assert parse_repository("a/b").revision is None


# --- hostile repositories ----------------------------------------------------------------------------------


def altered(path: str, change: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {**files, path: change(files[path])}


def with_field(key: str, value: object) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        plain = {name: each for name, each in json.loads(content).items() if name != "seal"}
        return json.dumps({**plain, key: value}).encode()

    return change


def with_nan(content: bytes) -> bytes:
    tensors = load(content)
    next(each for each in tensors.values() if each.is_floating_point()).view(-1)[0] = float("nan")
    return save(tensors)


class Runs:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return Path.touch, (Path("executed"),)  # type: ignore[return-value]


PICKLE = pickle.dumps(Runs())
HOSTILE: dict[str, tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = {
    "traversal": (lambda files: {**files, "best/../../../evil.json": b"{}"}, "would leave its folder"),
    "absolute": (lambda files: {**files, "/etc/evil": b"{}"}, "would leave its folder"),
    "backslash": (lambda files: {**files, "best\\..\\evil": b"{}"}, "would leave its folder"),
    "drive": (lambda files: {**files, "C:evil.json": b"{}"}, "would leave its folder"),
    "control": (lambda files: {**files, "a\x1b[2Jb": b"{}"}, "would leave its folder"),
    "symlink": (lambda files: {**files, "config.json": b"../../../../etc/passwd"}, "config.json cannot be used"),
    "no config": (lambda files: {k: v for k, v in files.items() if k != "config.json"}, "has no config.json"),
    "no weights": (
        lambda files: {k: v for k, v in files.items() if "safetensors" not in k},
        "has no best/*.safetensors",
    ),
    "only a pickle": (
        lambda files: {**{k: v for k, v in files.items() if "safetensors" not in k}, "model.pt": PICKLE},
        "has weights only as a pickle ('model.pt'), which could run code when read",
    ),
    "pickle as weights": (altered(BEST, lambda _: PICKLE), "cannot be used (expected safetensors"),
    "cut weights": (altered(BEST, lambda content: content[:-9]), "cannot be used (expected safetensors"),
    "huge header": (altered(BEST, lambda _: b"\xff" * 7 + b"\0" + b"{}"), "cannot be used (expected safetensors"),
    "NaN": (altered(BEST, with_nan), "has NaN or infinity"),
    "huge config": (altered("config.json", lambda _: b" " * 5_000_000), "its config.json is 5,000,000 bytes long"),
    "deep config": (altered("config.json", lambda _: b"[" * 9999 + b"]" * 9999), "config.json cannot be used (nested"),
    "list config": (altered("config.json", lambda _: b"[]"), "config.json cannot be used (expected a JSON object)"),
    "no PNG": (lambda files: {**files, "images/x.png": b"<svg/>"}, "images/x.png cannot be used (expected a PNG"),
    "code": (
        altered("config.json", with_field("loss", "os:system")),
        "'os:system' would run code from outside gansmith; allow it with GANSMITH_TRUST=os",
    ),
    "unknown field": (altered("config.json", with_field("losss", "hinge")), "did you mean 'loss'?"),
    "other network": (
        lambda files: altered("config.json", with_field("model", {"name": "dcgan", "width": 8, "z_dim": 4}))(files),
        "holds the weights of another network than config.json describes",
    ),
    "other shape": (altered("data.json", with_field("height", 64)), "another network than config.json describes"),
    "no size": (altered("data.json", with_field("height", 10**9)), "is no size of images"),
    "other weights": (
        altered(BEST, lambda content: save({name: each + 1 for name, each in load(content).items()})),
        "its best/generator_ema.safetensors differs from the digest in state.json",
    ),
    "weights elsewhere": (
        altered("best/state.json", with_field("files", {"../../x.safetensors": "0"})),
        "its best/state.json does not list the files of its weights",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_repository_is_one_line_and_writes_nothing_outside_the_cache(
    kind: str, hub: FakeHub, files: dict[str, bytes], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change, message = HOSTILE[kind]
    hub.add(NAME, change(files))
    assert cli.main(["sample", f"hf:{NAME}", "--num", "1", "--out", "out.png"]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1 and message in lines[0], lines
    assert not (tmp_path / "executed").exists()
    outside = [path for path in all_files(tmp_path) if not path.startswith("cache/hub/ann--tiny")]
    assert outside == []


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"config.json": None}, "config.json is of unknown size"),
        ({BEST: 10**12}, "is 1,000,000,000,000 bytes long; expected at most 2,000,000,000 bytes"),
    ],
)
def test_stated_sizes_are_limited(
    hub: FakeHub, files: dict[str, bytes], sizes: dict[str, int | None], message: str
) -> None:
    hub.add(NAME, files)
    hub.repositories[NAME].sizes = sizes
    with pytest.raises(RunError) as caught:
        find_run(f"hf:{NAME}")
    assert message in str(caught.value) and not any("/resolve/" in path for _, path, _ in hub.requests)


def test_all_files_together_are_limited(files: dict[str, bytes]) -> None:
    sizes = {path: len(content) for path, content in files.items()}
    with pytest.raises(RunError, match=r"files with 3,000,0.* bytes are too much"):
        choose_files("hf:a/b", {**sizes, "best/a.safetensors": 1_500_000_000, "best/b.safetensors": 1_500_000_000})
    with pytest.raises(RunError, match="113 files with"):
        choose_files("hf:a/b", {**sizes, **{f"images/{i}.png": 1 for i in range(113 - len(sizes))}})
    inspect_content("hf:a/b", "LICENSE", b"\xff")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "config.json").write_bytes(b"{}"), "config.json has changed since its download"),
        (lambda folder: (folder / "data.json").unlink(), "data.json is missing in the cache"),
        (lambda folder: (folder / "extra.json").write_bytes(b"{}"), "extra.json has changed since its download"),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "a link or special file"),
        (lambda folder: folder.with_suffix(".json").write_bytes(b"{}"), "cannot be read ('files')"),
        (lambda folder: folder.rename(folder.parent / "moved"), "is missing; delete"),
    ],
)
def test_what_changed_in_the_cache_is_refused(
    hub: FakeHub, files: dict[str, bytes], change: Callable[[Path], object], message: str
) -> None:
    hub.add(NAME, files)
    change(find_run(f"hf:{NAME}"))
    with pytest.raises(RunError) as caught:
        find_run(f"hf:{NAME}")
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_download_that_was_interrupted_is_done_again(hub: FakeHub, files: dict[str, bytes]) -> None:
    hub.add(NAME, files)
    folder = find_run(f"hf:{NAME}")
    folder.with_suffix(".json").unlink()
    (folder / "config.json").write_bytes(b"")
    assert find_run(f"hf:{NAME}") == folder and (folder / "config.json").read_bytes() == files["config.json"]


# --- export and upload -------------------------------------------------------------------------------------


def test_a_folder_has_a_card_and_no_paths(files: dict[str, bytes], built: Path) -> None:
    card = files["README.md"].decode()
    head = dict(line.split(": ", 1) for line in card.split("---\n")[1].splitlines())
    assert json.loads(head["license"]) == "mit" and json.loads(head["library_name"]) == "gansmith"
    (index,) = json.loads(head["model-index"])
    assert index["results"][0]["metrics"][0]["name"] == "FID (random-conv)"
    for text in ("# tiny", "gansmith sample hf:ann/tiny", "| fid |", "## Data and licence", "under the licence mit"):
        assert text in card
    assert any(path.startswith("images/") and f"![Samples]({path})" in card for path in files)
    told = json.loads(files["provenance.json"])
    assert told["nimg"] == 24 and len(told["weights_sha256"]) == 64 and told["data"]["num_images"] == 1797
    for path, content in files.items():
        if not path.endswith((".png", ".safetensors")):
            assert str(built).encode() not in content and b'"pid"' not in content, path


def test_a_run_of_this_machine_is_exported_without_its_paths(built: Path, tmp_path: Path) -> None:
    run = RunFolder.open(built / "work" / "runs" / "tiny")
    first = write_hub_folder(run, tmp_path / "out", title="A | title", snapshot="last", ema=False)
    assert (
        first.license == "unknown"
        and "The licence of the weights is not stated." in (first.path / "README.md").read_text()
    )
    assert "# A \\| title" in (first.path / "README.md").read_text()
    found = open_checkpoint(first.path / "best")
    assert set(found.tensors) == {"generator", "discriminator"}
    (newest,) = run.checkpoints()[-1:]
    for stem in found.tensors:
        for name, tensor in open_checkpoint(newest).tensors[stem].items():
            assert torch.equal(found.tensors[stem][name], tensor)
    again = write_hub_folder(run, tmp_path / "out")
    assert set(open_checkpoint(again.path / "best").tensors) == {"generator_ema", "discriminator"}
    for path in again.path.rglob("*.json*"):
        assert str(built) not in path.read_text() and str(tmp_path) not in path.read_text()
    (again.path / "thesis.txt").touch()
    with pytest.raises(ExportError, match=r"contains thesis\.txt; choose an empty folder with --out"):
        write_hub_folder(run, again.path)
    with pytest.raises(ExportError, match="--license: 'my own' is no identifier; expected one such as mit"):
        write_hub_folder(run, tmp_path / "other", license_id="my own")


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the library's own uploads
@pytest.mark.parametrize("large", [set(), {".safetensors", ".png"}], ids=["git", "LFS"])
def test_an_upload_can_be_used(
    large: set[str], hub: FakeHub, built: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.large = large
    words = ["export", "hub", str(built / "entries" / "tiny"), "--upload", "ann/new", "--private", "--license", "mit"]
    assert cli.main(words) == 2
    assert "--upload ann/new: the Hub refuses access (HTTP 401)" in capfd.readouterr().err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert cli.main([*words, "--json"]) == 0
    printed = capfd.readouterr()
    assert json.loads(printed.out)["url"] == f"{hub.address}/ann/new" and TOKEN not in printed.out + printed.err
    repository = hub.repositories["ann/new"]
    assert repository.private
    stored = repository.commits[repository.branches["main"]]
    assert stored == {path: (Path("tiny-hub") / path).read_bytes() for path in all_files(Path("tiny-hub"))}
    ours, theirs = (
        api.open_run(run).generator().sample(4).images for run in ("hf:ann/new", built / "entries" / "tiny")
    )
    assert np.array_equal(ours, theirs)
    repository.commit({**stored, "images/old.png": b"", "mine.txt": b"x"})
    assert cli.main(words) == 0
    stored = repository.commits[repository.branches["main"]]
    assert "mine.txt" in stored and "images/old.png" not in stored, "files of an earlier upload are replaced"
    assert "use it: gansmith sample hf:ann/new --label" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--private"], "--private: nothing is uploaded; name a repository with --upload USER/NAME"),
        (["--upload", "ann"], "'ann': is no repository"),
        (["--upload", "ann/x@v1"], "--upload ann/x@v1: uploads go to the default branch; leave out @v1"),
    ],
)
def test_wrong_options_are_one_line(
    words: list[str], message: str, hub: FakeHub, built: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", "hub", str(built / "entries" / "tiny"), *words]) == 2
    assert message in capfd.readouterr().err and not Path("tiny-hub").exists() and not hub.requests
