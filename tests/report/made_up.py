"""A run and a study as training and evaluation leave them, made without either."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np

from gansmith.component import to_plain
from gansmith.images.pixels import save_png
from gansmith.images.sheets import SheetRows, grid
from gansmith.metrics.measurement import ExtractorFacts, Generated, Measurement, Reference
from gansmith.metrics.metric import Estimate
from gansmith.runs import RunFolder, write_json
from gansmith.study.results import (
    Conclusion,
    Interval,
    Measure,
    Measured,
    PairedComparison,
    RunResults,
    SettingResults,
    StudyResults,
    Summary,
    VariantFacts,
    write_results,
)
from gansmith.training.data_facts import DataFacts
from gansmith.training.presets import configure

CLASSES = ("stop", "yield", "priority road")
FACTS = DataFacts(
    title="signs",
    num_images=600,
    height=16,
    width=16,
    channels=3,
    class_names=CLASSES,
    class_counts=(300, 200, 100),
    digest="d1" * 32,
)


def measurement(nimg: int, value: float, **changes: object) -> Measurement:
    """A measurement of the tracked figure."""
    made = Measurement(
        kind="tracking",
        when="2026-01-02T03:04:05+00:00",
        generated=Generated(
            path="runs/it", num=1000, snapshot="now", ema=True, seed=0, nimg=nimg, step=nimg // 64, seconds=nimg / 1000
        ),
        reference=Reference(title="signs", split="training", num=570, digest="d1" * 32, selection="5e" * 32),
        extractor=ExtractorFacts(name="classifier", digest="c1" * 32, note="held-out accuracy 98.7 %"),
        values={"fid": Estimate(value=value, low=value * 0.95, high=value * 1.05, interval="bootstrap of 50")},
        gansmith="0.1.0",
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def evaluation(nimg: int, num: int = 5000) -> Measurement:
    """A whole evaluation of the best generator."""
    made = measurement(nimg, 12.34)
    figures = {
        "kid": Estimate(value=0.0081, low=0.0078, high=0.0084, interval="bootstrap of 50"),
        "copies": Estimate(value=0.0, low=0.0, high=0.0004, interval="Wilson", note="0.10 % among held-out images"),
        "mypkg:sharpness": Estimate(value=3.0, low=2.9, high=3.1, interval="bootstrap of 50"),
        **made.values,
    }
    return dataclasses.replace(
        made,
        kind="evaluation",
        values=figures,
        failures={"intra-fid": "class 2 has too few images"},
        generated=dataclasses.replace(made.generated, snapshot="best", num=num),
    )


def sheet(seed: int, facts: DataFacts = FACTS) -> SheetRows:
    """Rows of eight random images a class."""
    num = len(facts.class_names)
    images = np.random.default_rng(seed).integers(0, 256, (num, 8, facts.height, facts.width, 3), np.uint8)
    return SheetRows(images=images, classes=tuple(range(num)), class_names=facts.class_names, num_present=num)


def make_run(path: Path, facts: DataFacts = FACTS) -> RunFolder:
    """A run that is finished, tracked and evaluated."""
    run = RunFolder.create(path)
    write_json(run.config, to_plain(configure("signs", overrides={"model.width": 24, "length": "30 kimg"})))
    facts.write(run.data)
    command = ["/usr/bin/gansmith", "train", "signs", "--length", "30 kimg"]
    machine = {"device_name": "CPU", "precision": "float32", "notes": ["float32 instead of bfloat16: old"]}
    write_json(run.environment, {"gansmith": "0.1.0", "torch": "2.13.0", **machine, "command": command})
    run.set_status("finished", step=480, nimg=30720)
    for i in range(1, 7):
        losses = {"loss/generator": 3 / i, "loss/discriminator": 0.5, "loss/generator.std": 0.3}
        rest = {"accuracy/real": 0.8, "accuracy/fake": 0.7, "gradient/generator": 2.0 / i, "logits/real": 1.0}
        speed = {"speed/images_per_second": 2000.0, "progress/seconds": 2.56 * i}
        run.append_stats({"progress/nimg": 5120 * i, "progress/step": 80 * i, **losses, **rest, **speed})
        run.append_measurement(measurement(5120 * i, 200 / i if i < 6 else 60.0).to_plain())
        sheet(i, facts).save(run.images / f"fakes_{5120 * i:09}.png")
    for what, sentence in (("began", "the discriminator has won"), ("rollback", "back to step 80: R1 is added")):
        seen = {"kind": "discriminator-won", "severity": "failure", "figure": 0.01, "excess": 6.0, "since": 5120}
        run.append_event({"what": what, "sentence": sentence, "nimg": 15360, **seen})
    for made in (evaluation(20480), evaluation(25600, num=1000), evaluation(30720)):
        run.append_measurement(made.to_plain())
    sheet(0, facts).save(run.images / "real.png")
    pairs = np.random.default_rng(1).integers(0, 256, (8, 32, 16, 3), np.uint8)
    save_png(grid(pairs), run.nearest)
    return run


def make_study(path: Path) -> StudyResults:
    """Two variants from three seeds, of which one diverged; the folder has three of the runs."""
    measures = (
        Measure(key="tracked/best", title="FID at best", better="lower", group="quality", headline=True, definition=""),
        Measure(key="diverged", title="diverged", better="lower", group="stability", share=True, definition="D<i>."),
    )
    runs = []
    for variant, factor in (("plain", 1.0), ("<b>normed</b>", 0.8)):
        for seed in range(3):
            diverged = variant == "plain" and seed == 2
            curve = tuple((1000 * i, 0.5 * i, factor * (200 / i + seed)) for i in range(1, 4 if diverged else 9))
            best = Measured(measure="tracked/best", value=curve[-1][2])
            runs.append(
                RunResults(
                    cell=f"{factor}-{seed}",
                    path=f"runs/{factor}-{seed}",
                    variant=variant,
                    seed=seed,
                    state="diverged" if diverged else "finished",
                    reason="loss/discriminator is nan" if diverged else "",
                    curve=curve,
                    measures=(best, Measured(measure="diverged", value=float(diverged))),
                )
            )
    setting = SettingResults(
        title="signs 16",
        facts="600 images of signs",
        length="8 kimg",
        tracked="fid",
        tracked_title="FID",
        notes=("With 3 pairs little can be seen.",),
        measures=measures,
        runs=tuple(runs),
        summaries=(
            Summary(measure="tracked/best", variant="plain", num=3, mean=Interval(value=40.0, low=30.0, high=50.0)),
            Summary(measure="tracked/best", variant="<b>normed</b>", num=3, mean=Interval(value=21.0)),
            Summary(measure="diverged", variant="plain", num=3, mean=Interval(value=1 / 3, low=0.01, high=0.91)),
        ),
        comparisons=(
            PairedComparison(
                measure="tracked/best",
                first="plain",
                second="<b>normed</b>",
                num=3,
                difference=Interval(value=-19.0, low=-25.0, high=-13.0),
                p_t=0.0002,
                p_holm=0.0123,
                effect=Interval(value=-1.5, low=-2.5, high=-0.5),
                detectable=7.0,
            ),
        ),
        conclusions=(
            Conclusion(group="quality", first="plain", second="<b>normed</b>", sentences=("It is shown.", "Not more.")),
        ),
    )
    results = StudyResults(
        title="Plain against normed",
        question="Which is better?",
        shortened=("length = 8 kimg",),
        command="gansmith study it.toml",
        gansmith="0.1.0",
        when="2026-01-02T03:04:05+00:00",
        seeds=(0, 1, 2),
        variants=(
            VariantFacts(title="plain", preset="dcgan-64"),
            VariantFacts(title="<b>normed</b>", preset="sndcgan-64"),
        ),
        settings=(setting,),
    )
    make_run(path / "runs" / "1.0-0")
    for name in ("1.0-1", "0.8-1"):
        shutil.copytree(path / "runs" / "1.0-0", path / "runs" / name)
    write_results(results, path / "results.json")
    (path / "study.json").write_text(json.dumps({}))
    return results
