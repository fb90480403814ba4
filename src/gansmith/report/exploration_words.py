"""What an exploration says about diversity and realism, in sentences that follow from its numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from gansmith.evaluation.exploration import Compared, Exploration
from gansmith.metrics.metric import Estimate
from gansmith.numerals import between, number, precise
from gansmith.report.metric_table import find_quantity

__all__ = ["Answer", "answer_diversity", "answer_realism"]

NEARLY, LESS = 0.9, 0.6  # of what real images reach; below LESS it is much less
TOLD = (0.6, 0.75)  # accuracy of the nearest-neighbour test from which samples are less, or much less, realistic
DISTINCT = 0.05  # p-value of the comparison of held-out and training reconstructions


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one question.

    Args:
        headline: the answer in one sentence.
        sentences: (what was looked at, what was found).
    """

    headline: str
    sentences: tuple[tuple[str, str], ...]


def answer_diversity(found: Exploration) -> Answer:
    """Return how diverse the samples are, compared with the real images."""
    parts = (
        _share(found, "recall", "of the real images are among the samples' neighbours"),
        _share(found, "coverage", "of the real images have a sample nearby"),
        _ratio(found, "vendi", "Vendi score", "effective number of different images"),
        _ratio(found, "diversity", "Distance between samples", "mean distance between two images"),
        _classes(found),
        _twins(found),
        _smoothness(found),
    )
    grades = {name: _grade(found.values[name]) for name in ("recall", "coverage") if name in found.values}
    headline = _headline(list(grades.values()), "diverse", "the worse of recall and coverage")
    if grades.get("coverage") and grades.get("recall") == 0 and _is_unrealistic(found):
        headline += " Only coverage is lower, which unrealistic samples cause too."
    return Answer(headline=headline, sentences=_present(parts))


def answer_realism(found: Exploration) -> Answer:
    """Return how realistic the samples are, compared with the real images."""
    parts = (
        _share(found, "precision", "of the samples look like real images by their neighbours"),
        _density(found),
        _distance(found, "fid", "FID"),
        _distance(found, "kid", "KID"),
        _apart(found),
        _labels(found),
        _midway(found),
        _reconstructions(found),
        _memorisation(found),
        _copies(found),
    )
    names = ("precision", "density", "told_apart")
    grades = [_grade(found.values[name]) for name in names[:2] if name in found.values]
    grades += [_grade_of_test(found.values[name]) for name in names[2:] if name in found.values]
    why = "the worst of precision, density and nearest-neighbour test"
    return Answer(headline=_headline(grades, "realistic", why), sentences=_present(parts))


def _grade_of_test(compared: Compared) -> int:
    """Return 0 if the nearest-neighbour test cannot tell samples from real images, up to 3."""
    samples, real = compared.samples, compared.real
    if samples.low <= max(0.5, 0.0 if real is None else real.high):
        return 0
    return 1 + sum(samples.value >= least for least in TOLD)


def _present(parts: tuple[tuple[str, str] | None, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(part for part in parts if part is not None)


# --- grades ------------------------------------------------------------------------------------------------


def _grade(compared: Compared) -> int:
    """Return 0 if a higher-is-better value is not below that of real images as far as the intervals show, up to 3."""
    samples, real = compared.samples, compared.real
    if real is None or samples.high >= real.low:
        return 0
    share = samples.value / real.value if real.value > 0 else 1.0
    return 1 if share >= NEARLY else 2 if share >= LESS else 3


def _headline(grades: list[int], word: str, why: str) -> str:
    if not grades:
        return f"It could not be measured how {word} the samples are."
    degree = ("as {} as", "nearly as {} as", "less {} than", "much less {} than")[max(grades)].format(word)
    return f"The samples are {degree} real images, by {why}."


def _value(estimate: Estimate, percent: bool = False) -> str:
    """Return a value with its interval."""
    if percent:
        low, high = (f"{100 * end:.1f}" for end in (estimate.low, estimate.high))
        return f"{100 * estimate.value:.1f} % ({low} to {high})"
    return f"{precise(estimate.value, estimate.low, estimate.high)} ({between(estimate.low, estimate.high)})"


def _title(name: str) -> str:
    quantity = find_quantity(name)
    return quantity.title if quantity else name


# --- diversity ---------------------------------------------------------------------------------------------


def _share(found: Exploration, name: str, what: str) -> tuple[str, str] | None:
    compared = found.values.get(name)
    if compared is None or compared.real is None:
        return None
    beside = f"with real images in place of the samples: {_value(compared.real, percent=True)}"
    verdict = _verdict(compared)
    if name == "coverage" and _grade(compared) and _is_unrealistic(found):
        verdict += " Samples that are not realistic lower it too."
    return _title(name), f"{_value(compared.samples, percent=True)} {what}; {beside}. {verdict}"


def _is_unrealistic(found: Exploration) -> bool:
    return any(_grade(found.values[name]) > 1 for name in ("precision", "density") if name in found.values)


def _verdict(compared: Compared) -> str:
    words = ("No difference is visible.", "Slightly less.", "Less.", "Much less.")
    return words[_grade(compared)]


def _ratio(found: Exploration, name: str, title: str, what: str) -> tuple[str, str] | None:
    compared = found.values.get(name)
    if compared is None or compared.real is None:
        return None
    beside = f"of the other real images it is {_value(compared.real)}"
    return title, f"The {what}, generated to real, is {_value(compared.samples)}; {beside}. {_two_sided(compared)}"


def _two_sided(compared: Compared) -> str:
    """Return how a ratio to one half of the real images differs from that of the other half."""
    samples, real = compared.samples, compared.real
    if real is None or (samples.low <= real.high and real.low <= samples.high):
        return "No difference is visible."
    share = abs(1 - samples.value / real.value) if real.value else 1.0
    return f"That is {100 * share:.0f} % {'less' if samples.value < real.value else 'more'}."


def _classes(found: Exploration) -> tuple[str, str] | None:
    compared = found.values.get("within_classes")
    if compared is None:
        return None
    ratios = sorted(found.class_ratios.items(), key=lambda item: item[1])
    worst = ", ".join(f"{_class_name(found, label)} ({ratio:.2f})" for label, ratio in ratios[:3])
    beside = "" if compared.real is None else f"; of the other real images it is {_value(compared.real)}"
    ratio = f"The mean distance of two images of one class, generated to real, is {_value(compared.samples)}{beside}"
    least = f"Least varied: {worst}, of {len(ratios)} classes"
    verdict = _two_sided(compared)
    verdict += " Wrong details raise the distance too." * verdict.endswith("more.")
    return "Within classes", f"{ratio}. {verdict} {least}."


def _class_name(found: Exploration, label: int) -> str:
    return found.class_names[label] if found.class_names else f"class {label}"


def _twins(found: Exploration) -> tuple[str, str] | None:
    compared = found.values.get("twins")
    if compared is None or compared.real is None:
        return None
    samples, real = compared.samples, compared.real
    more = samples.low > real.high
    verdict = "More than real ones: the generator repeats itself." if more else "Not more than real ones."
    share = f"{_value(samples, percent=True)} of {found.num:,} samples show the same image as another sample"
    return "Same image twice", f"{share}; among as many real images it is {_value(real, percent=True)}. {verdict}"


def _smoothness(found: Exploration) -> tuple[str, str] | None:
    path = found.path
    if path is None:
        return None
    length = f"{_value(path.length)} perceptual distances per squared walk"
    fade = f"cross-fades of pixels between the same images have {_value(path.cross_fade)}"
    faster = path.length.value / max(path.cross_fade.value, 1e-12)
    return "Smoothness of walks", (
        f"Perceptual path length {length}; {fade}. Squared speed is {number(faster)} times that of a cross-fade, and "
        f"{_value(path.detour)} times that of a straight and even walk between the ends. Lower is smoother."
    )


# --- realism -----------------------------------------------------------------------------------------------


def _density(found: Exploration) -> tuple[str, str] | None:
    compared = found.values.get("density")
    if compared is None or compared.real is None:
        return None
    values = f"{_value(compared.samples)}; of real images {_value(compared.real)}"
    return "Density", f"Samples lie among real images with density {values}. {_verdict(compared)}"


def _distance(found: Exploration, name: str, title: str) -> tuple[str, str] | None:
    compared = found.values.get(name)
    if compared is None or compared.real is None:
        return None
    samples, real = compared.samples, compared.real
    if samples.low <= real.high:
        verdict = "No difference is visible."
    elif real.low > 0:
        verdict = f"That is {number(samples.value / real.value)} times as far."
    else:
        verdict = "The samples are farther than chance explains."
    distances = f"{_value(samples)} from the real images; real images are {_value(real)} from each other"
    return title, f"The samples are {distances}. {verdict}"


def _apart(found: Exploration) -> tuple[str, str] | None:
    compared = found.values.get("told_apart")
    if compared is None or compared.real is None:
        return None
    samples, real = compared.samples, compared.real
    if samples.low > max(0.5, real.high):
        verdict = "They can be told apart."
    elif samples.high < min(0.5, real.low):
        verdict = "Samples lie closer to real images than those lie to each other, as copies would."
    else:
        verdict = "They cannot be told apart."
    return "Nearest-neighbour test", (
        f"The nearest other image tells real from generated in {_value(samples, percent=True)} of cases, where 50 % is "
        f"chance; real from other real images in {_value(real, percent=True)}. {verdict}"
    )


def _labels(found: Exploration) -> tuple[str, str] | None:
    compared = found.values.get("label_fidelity")
    if compared is None:
        return None
    real = "" if compared.real is None else f"; of real images it is {_value(compared.real, percent=True)}"
    shown = f"A classifier sees the requested class in {_value(compared.samples, percent=True)} of the samples{real}"
    return "Label fidelity", f"{shown}. {_verdict(compared)}"


def _midway(found: Exploration) -> tuple[str, str] | None:
    middle, faded, samples = (found.values.get(name) for name in ("midway", "cross_fades", "precision"))
    if middle is None or faded is None or samples is None:
        return None
    beside = Compared(samples=middle.samples, real=samples.samples)
    verdict = ("as realistic as", "nearly as realistic as", "less realistic than", "much less realistic than")
    values = f"Precision {_value(middle.samples, percent=True)}; of cross-fades {_value(faded.samples, percent=True)}"
    more = faded.samples.low > middle.samples.high
    told = " Cross-fades have more, so precision does not see double contours here." * more
    return "Middle of walks", f"{values}. Images between two latents are {verdict[_grade(beside)]} samples.{told}"


def _reconstructions(found: Exploration) -> tuple[str, str] | None:
    held_out, training = (found.projections.get(name) for name in ("held-out", "training"))
    if held_out is None or training is None:
        return None
    both = held_out.distances, training.distances
    p_value = float(stats.mannwhitneyu(*both, alternative="greater").pvalue)
    means = [f"{side.mean():.3f} ± {side.std(ddof=1) / np.sqrt(len(side)):.3f}" for side in both if len(side) > 1]
    if len(means) < 2:
        return None
    verdict = (
        "Training images are reconstructed better, as by a generator that remembers them."
        if p_value < DISTINCT
        else "No difference is visible."
    )
    random = f"{np.median(np.concatenate([held_out.random_distances, training.random_distances])):.2f}"
    return "Reconstruction", (
        f"The perceptual distance of {len(held_out)} held-out images to their projections is {means[0]} (mean and "
        f"standard error), of {len(training)} training images {means[1]}, of random samples {random}. {verdict}"
    )


def _memorisation(found: Exploration) -> tuple[str, str] | None:
    compared = found.values.get("memorisation")
    if compared is None:
        return None
    value = compared.samples
    if value.low > 0.5:
        verdict = "Samples are nearer: they may be copies, or closer to the average image."
    elif value.high < 0.5:
        verdict = "Samples are farther: no sign of copies. Samples that are not realistic are farther too."
    else:
        verdict = "No difference is visible."
    chance = f"A sample is nearer to its nearest training image than a held-out image is with chance {_value(value)}"
    return "Nearest training image", f"{chance}; 0.5 means no difference. {verdict}"


def _copies(found: Exploration) -> tuple[str, str] | None:
    compared = found.values.get("copies")
    if compared is None:
        return None
    shares = f"{_value(compared.samples, percent=True)} of the samples copy a training image"
    return "Copies", f"{shares} ({compared.samples.note})."
