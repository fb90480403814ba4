"""The card of an entry: README.md with a YAML head, as the Hugging Face Hub reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.measure import Rounding
from builder.train import Recipe
from gansmith.metrics.measurement import Measurement

__all__ = ["CardFacts", "write_card"]

SHOWN = ("fid", "kid", "precision", "recall", "memorisation", "copies")


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says besides its recipe and metrics.

    Args:
        name: of the entry.
        sheet: path of the sheet of samples, within the entry.
        class_names: empty if it is unconditional.
        num_images: of the data, those held out included.
        kimg: thousands of images seen in training.
        commit: that it was trained with.
        environment: environment.json.
        num_weights: of the generator.
    """

    name: str
    sheet: str
    class_names: Sequence[str]
    num_images: int
    kimg: float
    commit: str
    environment: Mapping[str, Any]
    num_weights: int


def write_card(recipe: Recipe, facts: CardFacts, measurements: Sequence[Measurement], rounding: Rounding) -> str:
    """Return the text of a card."""
    parts = (_head(recipe, facts, measurements), _use(recipe, facts), _quality(facts, measurements, rounding))
    return "\n".join((*parts, _training(recipe, facts)))


def _head(recipe: Recipe, facts: CardFacts, measurements: Sequence[Measurement]) -> str:
    data = {"type": recipe.data.partition(".")[0], "name": recipe.described}
    metrics = [
        {"type": "fid", "name": f"FID ({each.extractor.name})", "value": round(each.values["fid"].value, 3)}
        for each in measurements
    ]
    results = [{"task": {"type": "unconditional-image-generation"}, "dataset": data, "metrics": metrics}]
    fields = {
        "license": recipe.license.lower(),
        "library_name": "gansmith",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["gan", "image-generation", "gansmith"],
        "model-index": [{"name": facts.name, "results": results}],
    }
    return "\n".join(["---", *(f"{name}: {json.dumps(value)}" for name, value in fields.items()), "---", ""])


def _use(recipe: Recipe, facts: CardFacts) -> str:
    label = f' --label "{facts.class_names[-1]}"' if facts.class_names else ""
    classes = f"\n{len(facts.class_names)} classes: {', '.join(facts.class_names)}.\n" if facts.class_names else ""
    return f"""# zoo:{facts.name}

{recipe.title}

![Samples]({facts.sheet})
{classes}
```
gansmith sample zoo:{facts.name}{label}
```
"""


def _quality(facts: CardFacts, measurements: Sequence[Measurement], rounding: Rounding) -> str:
    first = measurements[0]
    names = [name for name in SHOWN if name in first.values]
    head = ["metric", *(each.extractor.name for each in measurements)]
    rows = [
        "| " + " | ".join([name, *(str(each.values.get(name, "not measured")) for each in measurements)]) + " |"
        for name in names
    ]
    notes = [f"{each.extractor.name}: {each.extractor.note}." for each in measurements if each.extractor.note]
    copies = first.values.get("copies")
    copied = f"\nReal images beside it: {copies.note}." if copies else ""
    failed = [f"{each.extractor.name}, {name}: {why}" for each in measurements for name, why in each.failures.items()]
    table = "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *rows])
    real = f"{first.reference.num:,} images of {first.reference.title} ({first.reference.split})"
    name = first.extractor.name
    return f"""## Quality

{first.generated.num:,} samples against {real}, with 95 % intervals.
`memorisation` is the probability that a sample is nearer to its nearest training image than a held-out image is to its
own: 0.5 without copies, 1 if everything is copied, near 0 if samples differ from real images. `copies` is the share of
samples that equal a training image, even if shifted, mirrored or recoloured.{copied}

{table}

{" ".join([*notes, *failed])}

The weights are stored in float16. The FID ({name}) is {rounding.fid_half:.4g}, in float32 {rounding.fid:.4g}.
Of 1,000 images, a pixel value differs by at most {rounding.most} of 255, by {rounding.mean:.2g} on average.
"""


def _training(recipe: Recipe, facts: CardFacts) -> str:
    machine = facts.environment
    root = " --data-root path/to/data" if recipe.root or recipe.data.endswith(".zip") else ""
    return f"""## Training

| | |
|---|---|
| data | {recipe.described}, {facts.num_images:,} images |
| images seen | {facts.kimg:,.0f} thousand |
| generator | {facts.num_weights:,} weights |
| command | `python zoo/build.py {facts.name}{root}` |
| commit | {facts.commit} |
| processor | {machine.get("processor")}, {machine.get("threads")} threads, PyTorch {machine.get("torch")} |

On the same processor, with the same versions, the command gives the same weights, bit for bit.

## Data and licence

{recipe.rights}

## Limits

{recipe.limits}
"""
