"""The card of an entry: README.md with a YAML head, as the Hugging Face Hub reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.measure import Rounding
from builder.train import Recipe
from gansmith.deploy.card import describe_quality, write_head
from gansmith.metrics.measurement import Measurement

__all__ = ["CardFacts", "write_card"]


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
    parts = (_head(recipe, facts, measurements), _use(recipe, facts), _quality(measurements, rounding))
    return "\n".join((*parts, _training(recipe, facts)))


def _head(recipe: Recipe, facts: CardFacts, measurements: Sequence[Measurement]) -> str:
    data = {"type": recipe.data.partition(".")[0], "name": recipe.described}
    return write_head(facts.name, recipe.license.lower(), data, measurements)


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


def _quality(measurements: Sequence[Measurement], rounding: Rounding) -> str:
    name = measurements[0].extractor.name
    return f"""{describe_quality(measurements)}
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
