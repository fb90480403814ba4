"""Failures of the system are one line with a path and a remedy, and a closed output is no failure."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from gansmith.cli import main
from gansmith.console import stop_on_signal
from gansmith.errors import explain

NUMBERS = ("ENOSPC", "EROFS", "EACCES", "ENOTDIR", "ENAMETOOLONG", "EMFILE", "ENOENT", "EFBIG", "EIO")


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``gansmith list`` end with an error."""

    class Module:
        @staticmethod
        def main(_: object) -> None:
            raise error

    monkeypatch.setattr("importlib.import_module", lambda _: Module)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_error_of_the_system_is_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    number = getattr(errno, name)
    failing(OSError(number, os.strerror(number), "there/config.json"), monkeypatch)
    assert main(["list"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: there/config.json: ")
    assert printed.count("\n") == 1
    assert ";" in printed


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SafetensorError("I/O error: No space left on device (os error 28)"), "free space"),
        (SafetensorError("Error while deserializing header: invalid JSON"), "use another checkpoint"),
        (MemoryError(), "smaller batch"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried\nto"), "smaller batch"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."), "smaller batch"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (OSError("12 requested and 3 written"), "12 requested and 3 written"),
    ],
)
def test_memory_weights_and_depth_are_one_line(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error, monkeypatch)
    assert main(["list"]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(RuntimeError("shapes differ"), monkeypatch)
    assert explain(RuntimeError("shapes differ")) is None
    with pytest.raises(RuntimeError, match="shapes differ"):
        main(["list"])


def test_a_reader_that_leaves_does_not_end_the_work(tmp_path: Path) -> None:
    done = tmp_path / "done"
    code = (
        "import sys, types\nfrom rich.console import Console\nfrom gansmith import cli\n"
        "def work(_):\n    for i in range(3000):\n        Console().print('line', i)\n"
        f"    open({str(done)!r}, 'w').close()\n"
        "sys.modules['work'] = types.SimpleNamespace(main=work)\ncli.COMMANDS['work'] = ('work', '')\n"
        "sys.exit(cli.main(['work']))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert done.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_on_a_full_disk_is_one_line() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        words = [sys.executable, "-c", "import sys; from gansmith.cli import main; sys.exit(main(['--help']))"]
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: standard output: no space left on device; free space")
    assert ended.stderr.count("\n") == 1


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_a_closed_terminal_asks_to_stop_unless_hangups_are_ignored() -> None:
    with stop_on_signal() as asked:
        signal.raise_signal(signal.SIGHUP)
        assert asked()
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signal() as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked()
    finally:
        signal.signal(signal.SIGHUP, before)
