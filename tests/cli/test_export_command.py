"""gansmith export onnx, export web and publish, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gansmith.cli import main
from gansmith.deploy.browser import PageVisit
from traces import share_traces

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module", autouse=True)
def _traced_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        share_traces(patch)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is hardly trained."""
    path = tmp_path_factory.mktemp("runs") / "digits"
    words = ["train", "digits", "--preset", "dcgan-64", "--run", str(path), "--length", "2 steps"]
    assert main([*words, "--batch_size", "4", "--tracking", "none", "--size", "16", "--model.width", "4"]) == 0
    return path


def test_onnx_prints_the_file_and_the_difference(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.onnx"
    capsys.readouterr()
    assert main(["export", "onnx", str(run), "--out", str(out), "--num", "10"]) == 0
    first, second = capsys.readouterr().out.strip().splitlines()[-2:]
    assert first == f"{out}: {out.stat().st_size / 1e6:.2f} MB"
    assert second.startswith("against PyTorch: largest difference ") and second.endswith("over 10 images")
    import onnx

    told = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert told["run"] == "digits" and told["nimg"] == "8" and told["snapshot"] == "last"


def test_publish_writes_a_folder_and_prints_the_next_commands(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["publish", str(run), "--out", str(tmp_path / "my page"), "--title", "Digits", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["commands"][0] == f"python -m http.server --directory '{tmp_path / 'my page'}'"
    assert (tmp_path / "my page" / ".nojekyll").exists()
    card = (tmp_path / "my page" / "README.md").read_text()
    assert card.startswith("# Digits\n") and "| preset | dcgan-64 |" in card and "| real images seen | 8 |" in card


def test_the_benchmark_has_a_row_for_each_format(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gansmith.deploy.benchmark._speed", lambda call, count, seconds: call(count) is None or count)
    monkeypatch.setattr("gansmith.deploy.benchmark.visit_page", lambda folder: PageVisit(speed=50, largest=1))
    capsys.readouterr()
    assert main(["export", "--benchmark", str(run), "--json", "--measure", "80", "--extractor", "random-conv"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["PyTorch", "ONNX fp32", "ONNX fp16", "ONNX int8", "page, fp32", "hub"]
    assert [row["batched"] for row in rows] == [32, 32, 32, 32, None, None]
    assert [row["single"] for row in rows] == [1, 1, 1, 1, 50, None]
    sizes = [row["size_bytes"] for row in rows]
    assert sizes[1] > sizes[0] and sizes[1] > sizes[2] > sizes[3] and rows[1]["largest"] <= 1
    exact, fp32, fp16, int8 = (row["fid"] for row in rows[:4])
    assert fp32 == pytest.approx(exact, rel=1e-3) and 0 < abs(fp16 - exact) < abs(int8 - exact)
    assert rows[4]["fid"] is None and all(row["kid"] > 0 for row in rows[:4])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export"], "gansmith export: no format; name one and a run: gansmith export onnx RUN"),
        (["export", "onx", "x"], "gansmith export onx: no such format; did you mean 'onnx'?"),
        (
            ["export", "web", "x", "--runtime", "cdn"],
            "--runtime cdn: is of --engine onnxruntime; add that, or leave it out",
        ),
        (["export", "onnx", "x", "--num", "0"], "--num: 0 images cannot be compared; expected at least 1"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
