"""What a study's file says, and what is refused in it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from gansmith.component import fields_set, from_plain, to_plain
from gansmith.errors import ConfigError, RunError
from gansmith.schedules import Duration
from gansmith.study.folder import StudyFolder
from gansmith.study.plan import Study, list_cells, read_study, shorten_study
from gansmith.study.record import prepare_record, read_record, write_record

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))

PLAN = """
title = "Two"
length = "8 steps"
seeds = 2
[overrides]
batch_size = 4
model.width = 4
[[variants]]
title = "Plain net"
preset = "dcgan-64"
[[variants]]
title = "Dense"
overrides = { model.name = "dense", model.width = 8, penalties = "r1" }
[[data]]
title = "Digits, 8"
source = "digits"
size = 8
[[data]]
title = "Wide"
source = "digits"
size = "12x8"
length = "6 steps"
overrides = { batch_size = 2, tracking.every = "4 steps" }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "two.toml"
    path.write_text(PLAN, encoding="utf-8")
    return path


def test_a_study_whose_guard_looked_for_leaks_is_continued(file: Path, tmp_path: Path) -> None:
    study, folder = read_study(file), StudyFolder(tmp_path / "study")
    folder.path.mkdir()
    record = prepare_record(study, (), folder)
    write_record(record, folder)
    plain = {key: value for key, value in json.loads(folder.plan.read_text()).items() if key != "seal"}
    for cell in plain["cells"]:
        cell["config"]["guard"]["leaked"] = 0.25
    for part in (plain["study"], *plain["study"]["variants"], *plain["study"]["data"]):
        part["overrides"]["guard"] = {"leaked": 0.25}
    folder.plan.write_text(json.dumps(plain))
    again = read_record(folder)
    assert again.cells == record.cells
    assert prepare_record(again.study, (), folder).cells == record.cells


def test_cells_are_variants_by_data_by_seeds_with_complete_pairs_first(file: Path) -> None:
    made = list_cells(read_study(file))
    assert [cell.title for cell in made[:4]] == [
        "digits-8-plain-net-seed0",
        "digits-8-dense-seed0",
        "wide-plain-net-seed0",
        "wide-dense-seed0",
    ]
    assert [cell.seed for cell in made] == [0] * 4 + [1] * 4
    assert all(cell.config.seed == cell.seed for cell in made)


def test_a_variants_fields_come_after_the_datas_and_those_after_the_studys(file: Path) -> None:
    plain, dense, wide, _ = (cell.config for cell in list_cells(read_study(file))[:4])
    assert (plain.preset, plain.batch_size, plain.preparation.size) == ("dcgan-64", 4, (8, 8))
    assert to_plain(plain.model)["width"] == 4
    assert {key: to_plain(dense.model)[key] for key in ("name", "width")} == {"name": "dense", "width": 8}
    assert [to_plain(penalty)["name"] for penalty in dense.penalties] == ["r1"]
    assert (wide.batch_size, wide.preparation.size, wide.length) == (2, (8, 12), Duration(6, "steps"))
    assert wide.tracking is not None
    assert wide.tracking.every == Duration(4, "steps")


def test_cells_remember_which_fields_the_study_has_set(file: Path) -> None:
    for cell in list_cells(read_study(file)):
        assert fields_set(cell.config) > {"length"}


def test_cells_start_from_noise_unless_the_study_names_a_start(file: Path) -> None:
    for cell in list_cells(read_study(file)):
        assert "init" in fields_set(cell.config) and cell.config.init is None  # so "auto" does not choose
    file.write_text(PLAN.replace("[overrides]", '[overrides]\ninit = "runs/x"'), encoding="utf-8")
    assert {cell.config.init for cell in list_cells(read_study(file))} == {"runs/x"}


def test_a_study_survives_json(file: Path) -> None:
    study = read_study(file)
    assert from_plain(Study, to_plain(study), "study") == study


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("seeds = 2", "sedes = 2"), "study.sedes: no such field of Study; did you mean 'seeds'?"),
        (("seeds = 2", "seeds = 0"), "study.seeds: expected a whole number from 1 to 1000 or"),
        (("preset =", "preste ="), "study.variants[0].preste: no such field of Variant; did you mean 'preset'?"),
        (('"dcgan-64"', '"dcgan-46"'), "preset: none is called 'dcgan-46'; did you mean 'dcgan-64'?"),
        (("width = 8", "widht = 8"), "study.variants[1].overrides.model.widht: no such field of Dense"),
        (("batch_size = 2", "batch_size = 1"), "study.data[1].overrides.batch_size: 1 is out of range"),
        (("batch_size = 4", 'batch_size = "many"'), "study.overrides.batch_size: expected a whole number, got 'many'"),
        (("12x8", "12y8"), "study.data 'Wide'.size: expected a size such as 64"),
        (("6 steps", "6"), "study.data[1].length: '6' is not a duration"),
        (('"Wide"', '"Digits 8"'), "two runs would be called digits-8-plain-net-seed0"),
        (('source = "digits"', 'source = "digist"'), "data: no data set, folder or file is called 'digist'"),
        (('name = "dense"', 'name = "os:system"'), "would run code from outside gansmith"),
        (("seeds = 2", "seeds = []"), "nothing to run"),
        (("seeds = 2", "seeds = "), "cannot read the study"),
        (("seeds = 2", "seeds = " + "[" * 10**5), "cannot read the study"),
        (("seeds = 2", "seeds = 1000000000"), "study.seeds: expected a whole number from 1 to 1000 or"),
    ],
)
def test_a_mistake_names_the_file_and_the_field(change: tuple[str, str], error: str, file: Path) -> None:
    file.write_text(PLAN.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"two\.toml: ") as caught:
        read_study(file)
    assert error in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_is_shortened_and_says_so(file: Path) -> None:
    study = read_study(file)
    short, cuts = shorten_study(study, length="2 steps", seeds=1)
    assert {str(cell.config.length) for cell in list_cells(short)} == {"2 steps"}
    assert len(list_cells(short)) == 4
    assert cuts == ("trainings of 2 steps instead of 8 steps, 6 steps", "1 of 2 seeds")
    assert shorten_study(study, seeds=2) == (dataclasses.replace(study, seeds=(0, 1)), ())
    with pytest.raises(ConfigError, match=r"--seeds: expected 1 to 2, which the study has, got 3"):
        shorten_study(study, seeds=3)


def test_a_root_reaches_every_data_setting(file: Path) -> None:
    file.write_text(PLAN.replace('"digits"', '"mnist"'), encoding="utf-8")
    study, cuts = shorten_study(read_study(file), root="there")
    assert cuts == ()
    assert {to_plain(cell.config.data)["root"] for cell in list_cells(study)} == {str(Path("there").absolute())}


# --- going on with a study -----------------------------------------------------------------------------------


def begun(file: Path) -> StudyFolder:
    folder = StudyFolder(file.parent / "out")
    record = prepare_record(read_study(file), (), folder)
    folder.path.mkdir()
    write_record(record.with_outcome("wide-dense-seed0", "diverged", "not a number"), folder)
    return folder


def test_a_study_remembers_what_came_of_its_cells(file: Path) -> None:
    folder = begun(file)
    record = prepare_record(read_study(file), (), folder)
    assert [cell.title for cell in record.cells if cell.done] == ["wide-dense-seed0"]
    assert read_record(folder).cells == record.cells


def test_cells_may_be_added_to_a_study(file: Path) -> None:
    folder = begun(file)
    file.write_text(PLAN.replace("seeds = 2", "seeds = 3"), encoding="utf-8")
    record = prepare_record(read_study(file), (), folder)
    assert len(record.cells) == 12
    assert [cell.title for cell in record.cells if cell.done] == ["wide-dense-seed0"]


def test_where_it_runs_may_change(file: Path) -> None:
    folder = begun(file)
    file.write_text(PLAN.replace("batch_size = 4", 'batch_size = 4\ndevice = "cpu"'), encoding="utf-8")
    assert prepare_record(read_study(file), (), folder).cells[0].config.device == "cpu"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("model.width = 4", "model.width = 5"), "was started with model.width 4, and now has 5"),
        (("seeds = 2", "seeds = 1"), "was started with digits-8-plain-net-seed1, which is no longer in it"),
        (("[overrides]", "evaluation.num = 7\n[overrides]"), "was started with evaluation"),
    ],
)
def test_any_other_change_is_refused(change: tuple[str, str], error: str, file: Path) -> None:
    folder = begun(file)
    file.write_text(PLAN.replace(*change), encoding="utf-8")
    with pytest.raises(RunError) as caught:
        prepare_record(read_study(file), (), folder)
    assert error in str(caught.value)
    assert "choose another folder with --out" in str(caught.value)


def test_a_damaged_record_is_an_error_of_one_line(file: Path) -> None:
    folder = begun(file)
    folder.plan.write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"study.json: cannot be read"):
        read_record(folder)
    with pytest.raises(RunError, match=r"no study is there"):
        StudyFolder.open(file.parent)


# --- the studies that come with gansmith ---------------------------------------------------------------------


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_document_002s_study_is_what_it_says(path: Path) -> None:
    study = read_study(path)
    made = list_cells(study)
    sizes = ((32, 32),) if path.stem.endswith("-32") else ((32, 32), (64, 64))
    assert len(made) == 2 * len(sizes) * len(study.seed_numbers)
    assert {(cell.config.preset, cell.config.preparation.size) for cell in made} == {
        (preset, size) for preset in ("dcgan-64", "sndcgan-64") for size in sizes
    }
    for cell in made:
        assert cell.config.held_out == 0.1
        assert cell.config.tracking is not None
        assert cell.config.tracking.max_share == 1
    shared = {cell.data: cell.config.tracking for cell in made}
    assert all(cell.config.tracking == shared[cell.data] for cell in made)


def test_there_are_a_whole_one_a_short_one_and_one_at_32_pixels() -> None:
    seeds = {path.stem: len(read_study(path).seed_numbers) for path in STUDIES}
    assert seeds == {"dcgan-vs-sndcgan": 5, "dcgan-vs-sndcgan-short": 5, "dcgan-vs-sndcgan-32": 3}
