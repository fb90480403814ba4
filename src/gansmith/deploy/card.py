"""The card of a published generator: README.md with a YAML head, as the Hugging Face Hub reads it."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansmith.metrics.measurement import Measurement
from gansmith.sampling.generator import TrainedGenerator
from gansmith.schedules import Progress
from gansmith.training.data_facts import DataFacts
from gansmith.training.sample_sheets import SampleGrid, fill_filename
from gansmith.training.snapshots import Snapshot

__all__ = ["RunCard", "describe_quality", "write_head", "write_run_card", "write_sheet"]

SHOWN = ("fid", "kid", "precision", "recall", "memorisation", "copies")
MOST_ROWS = 16
TASK = "unconditional-image-generation"


def write_head(
    name: str, license_id: str, data: Mapping[str, str], measurements: Sequence[Measurement], **others: str
) -> str:
    """Return the YAML head of a card, with its lines of dashes.

    Args:
        name: of the model.
        license_id: as the Hub writes it: an SPDX identifier in lower case, "other" or "unknown".
        data: "type" and "name" of the data set.
        measurements: whose FID is stated; those without are left out.
        others: further fields.
    """
    metrics = [
        {"type": "fid", "name": f"FID ({each.extractor.name})", "value": round(each.values["fid"].value, 3)}
        for each in measurements
        if "fid" in each.values
    ]
    results = [{"task": {"type": TASK}, "dataset": dict(data), "metrics": metrics}]
    fields: dict[str, Any] = {
        "license": license_id,
        **others,
        "library_name": "gansmith",
        "pipeline_tag": TASK,
        "tags": ["gan", "image-generation", "gansmith"],
        **({"model-index": [{"name": name, "results": results}]} if metrics else {}),
    }
    lines = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items())  # JSON is YAML
    return "\n".join(["---", *lines, "---", ""])


def describe_quality(measurements: Sequence[Measurement]) -> str:
    """Return the section with the metrics of one generator, one column for each feature extractor.

    Args:
        measurements: at least one; the rows are those of the first.
    """
    first = measurements[0]
    names = [name for name in SHOWN if name in first.values]
    head = ["metric", *(each.extractor.name for each in measurements)]
    rows = [
        "| " + " | ".join([name, *(str(each.values.get(name, "not measured")) for each in measurements)]) + " |"
        for name in names
    ]
    notes = [f"{each.extractor.name}: {each.extractor.note}." for each in measurements if each.extractor.note]
    failed = [f"{each.extractor.name}, {name}: {why}" for each in measurements for name, why in each.failures.items()]
    table = "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *rows])
    real = f"{first.reference.num:,} images of {first.reference.title} ({first.reference.split})"
    return f"""## Quality

{first.generated.num:,} samples against {real}, with 95 % intervals.
{_explain_copies(first)}
{table}

{" ".join([*notes, *failed])}
"""


def _explain_copies(measured: Measurement) -> str:
    sentences = ""
    if "memorisation" in measured.values:
        sentences = (
            "`memorisation` is the probability that a sample is nearer to its nearest training image than a held-out "
            "image is to its\nown: 0.5 without copies, 1 if everything is copied, near 0 if samples differ from real "
            "images. "
        )
    copies = measured.values.get("copies")
    if copies is None:
        return f"{sentences.rstrip()}\n"
    what = "`copies` is the share of\nsamples that equal a training image, even if shifted, mirrored or recoloured."
    return f"{sentences}{what}\nReal images beside it: {copies.note}.\n"


def write_sheet(generator: TrainedGenerator, folder: Path, nimg: int) -> Path:
    """Write one sheet of samples and return its path.

    Args:
        generator: of many classes, some are shown, evenly spaced, to keep the file small.
        folder: of the sheet, which is named as during training.
        nimg: real images that training had seen.
    """
    rows = SampleGrid().draw_rows(generator)
    if rows.classes:
        chosen = slice(None, None, -(-len(rows.classes) // MOST_ROWS))
        rows = dataclasses.replace(rows, images=rows.images[chosen], classes=rows.classes[chosen])
    path = folder / fill_filename(SampleGrid().filename, Progress(nimg=nimg, step=0, seconds=0, epoch_size=1))
    rows.save(path)
    return path


@dataclass(frozen=True, kw_only=True)
class RunCard:
    """What the card of a run says.

    Args:
        name: its title.
        repository: "user/name", for commands.
        license_id: of the weights, as the Hub writes it.
        sheet: path of the sheet of samples, within the folder.
        generator: the generator.
        facts: what it was trained on.
        snapshot: which generator it is.
        machine: environment.json.
        preset: of the training.
    """

    name: str
    repository: str
    license_id: str
    sheet: str
    generator: TrainedGenerator
    facts: DataFacts
    snapshot: Snapshot
    machine: Mapping[str, Any]
    preset: str


def write_run_card(card: RunCard, measurements: Sequence[Measurement]) -> str:
    """Return the text of a card; without measurements, it says how to measure."""
    data = {
        "type": re.sub(r"[^a-z0-9]+", "-", card.facts.title.lower()).strip("-") or "images",
        "name": card.facts.title,
    }
    head = write_head(card.name, card.license_id, data, measurements)
    measure = f"\n## Quality\n\nNot measured. `gansmith evaluate hf:{card.repository}` measures it.\n"
    quality = describe_quality(measurements) if measurements else measure.lstrip("\n")
    return "\n".join((head, _write_use(card), quality, _write_training(card)))


def _write_use(card: RunCard) -> str:
    names = card.generator.class_names
    label = f" --label {_quote(names[-1])}" if names else ""
    classes = f"\n{len(names)} classes: {', '.join(_plain(name) for name in names)}.\n" if names else ""
    return f"""# {_plain(card.name)}

A generator of images of {card.generator.spec}, trained with gansmith.

![Samples]({card.sheet})
{classes}
```
pip install 'gansmith[hub]'
gansmith sample hf:{card.repository}{label}
gansmith train DATA --init hf:{card.repository}
```

gansmith reads only JSON, safetensors and PNG files of this repository; nothing of it is executed.
"""


def _write_training(card: RunCard) -> str:
    weights = sum(tensor.numel() for tensor in card.generator.network.parameters())
    machine = f"{card.machine.get('device_name', 'unknown')}, PyTorch {card.machine.get('torch', 'unknown')}"
    stated = {
        "unknown": "The licence of the weights is not stated. State it, and that of the training data.",
        "other": "The weights have a licence of their own. State it here.",
    }
    rights = stated.get(card.license_id, f"The weights are under the licence {card.license_id}.")
    return f"""## Training

| | |
|---|---|
| data | {_plain(card.facts.title)}, {card.facts.num_images:,} images |
| images seen | {card.snapshot.nimg / 1000:,.0f} thousand |
| generator | {weights:,} weights{", averaged over training" if card.snapshot.ema else ""} |
| preset | {_plain(card.preset)} |
| machine | {_plain(machine)} |

`config.json` holds all settings, `provenance.json` the digests of the data and the weights.

## Data and licence

{rights}

## Limits

The images are synthetic. They can repeat errors and biases of the training images.
"""


def _plain(text: str) -> str:
    """Return text in one line, with the characters of Markdown escaped."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _quote(text: str) -> str:
    """Return a word of a command within a block of code."""
    return shlex.quote(" ".join(text.replace("`", "").split()))
