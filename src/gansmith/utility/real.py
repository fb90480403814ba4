"""The real images of a utility test: those that classifiers are trained on, and those that they are tested on.

A generator that was trained on the test images would pass on what it knows of them. So the test images are those that
the run held out, the official test set, or others that the run has not seen; this is checked pixel by pixel, and by
track where there are tracks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from gansmith.data.batches import ENOUGH_HELD_OUT, Indices, split
from gansmith.data.gtsrb import Gtsrb
from gansmith.data.source import Source
from gansmith.data.store import Store
from gansmith.errors import ConfigError, RunError
from gansmith.evaluation.options import EvaluationOptions
from gansmith.evaluation.real import Subset, open_other_images, open_own_images
from gansmith.evaluation.samples import find_class_numbers
from gansmith.numerals import count
from gansmith.runs import RunFolder
from gansmith.training.config import Config, load_config
from gansmith.training.data_facts import DataFacts
from gansmith.utility.arms import LabelledImages
from gansmith.utility.options import UtilityOptions

__all__ = ["RealImages", "open_real"]

MOST_SEEN = 0.01  # of the test images: equal images that occur in many data sets; they are dropped


@dataclass(frozen=True, kw_only=True, eq=False)
class RealImages:
    """Real images to train classifiers on and to test them on.

    Args:
        store: of the training images.
        training: indices of the images that classifiers are trained on.
        test: the images that they are tested on, with class numbers of the store.
        groups: int64 [n]; test images of one group show the same object.
        tested_on: where these are from, to follow "images of".
        doubt: why the run may have been trained on test images, in a clause; "" if it was not.
        notes: what else a reader must know, a sentence each.
    """

    store: Store
    training: Indices
    test: LabelledImages
    groups: NDArray[np.int64]
    tested_on: str
    doubt: str = ""
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> LabelledImages:
        """The images that classifiers are trained on."""
        return _take(Subset(store=self.store, indices=self.training))


def open_real(folder: RunFolder, options: UtilityOptions, console: Console) -> RealImages:
    """Return the real images of a test.

    Args:
        folder: the run.
        options: which images.
        console: for progress bars.

    Raises:
        ConfigError: they have no labels, or the run was trained on the test images.
        RunError: the run's images are needed and missing.
        MetricError: the classes of the test images are others.
    """
    config, facts = load_config(folder.config), DataFacts.read(folder.data)
    training, held_out, named = _open_training(folder, config, facts, options, console)
    store = training.store
    if store.labels is None or len(np.unique(store.labels[training.indices])) < 2:
        raise ConfigError(f"{store.title}: needs images of two classes or more; name labelled ones with --against DATA")
    tested_on = f"{store.title}, held out {'for this test' if named else 'by the run'}"
    source = options.test or _find_official_test(options.against or config.source)
    if source is not None:
        test = _open_in_shape(source, config, facts, console)
        held_out = Subset(store=test, indices=np.arange(len(test)))
        tested_on = test.title if options.test is not None else f"the official test set of {test.title}"
    if held_out is None or not len(held_out.indices):
        raise ConfigError(
            f"{folder.path}: was trained on all images of {store.title}, so none is left to test on; "
            "name others with --test DATA, or train with --held_out 0.1"
        )
    real = _match(store, training.indices, held_out, tested_on)
    return _drop_seen(real, folder, training, held_out, console)


def _open_training(
    folder: RunFolder, config: Config, facts: DataFacts, options: UtilityOptions, console: Console
) -> tuple[Subset, Subset | None, bool]:
    """Return the real images to train on, those held out, and whether they are other than the run's."""
    if options.against is None:
        own = open_own_images(folder, EvaluationOptions(), console)
        return Subset(store=own.store, indices=own.indices), own.held_out, False
    store = _open_in_shape(options.against, config, facts, console)
    named = store.digest != facts.digest
    if named and options.test is not None:
        return Subset(store=store, indices=np.arange(len(store))), None, True
    parts = split(store, options.held_out if named else config.held_out, least=ENOUGH_HELD_OUT)
    training, rest = (Subset(store=store, indices=indices) for indices in parts)
    return training, rest, named


def _open_in_shape(source: Source, config: Config, facts: DataFacts, console: Console) -> Store:
    """Read images in the shape of the run's, prepared like them."""
    preparation = replace(config.preparation, size=(facts.height, facts.width))
    options = EvaluationOptions(preparation=preparation)
    return open_other_images(source, facts.spec(use_labels=False), options, console).store


def _find_official_test(source: Source) -> Source | None:
    """Return the official test set of GTSRB if it lies beside the training images."""
    if not isinstance(source, Gtsrb) or source.split == "test" or not source.has_test():
        return None
    return replace(source, split="test")


def _match(store: Store, training: Indices, test: Subset, tested_on: str) -> RealImages:
    """Return the images with test labels that are class numbers of the training images."""
    chosen = _take(test)
    numbers = find_class_numbers(store, test.store.class_names)
    labels = numbers[chosen.labels]
    known = np.isin(labels, store.labels[training] if store.labels is not None else [])
    groups = np.arange(len(chosen)) if test.store.groups is None else test.store.groups[test.indices]
    notes = (
        [] if known.all() else [f"{count((~known).sum())} test images of classes without training images are left out."]
    )
    return RealImages(
        store=store,
        training=training,
        test=LabelledImages(images=chosen.images[known], labels=labels[known]),
        groups=groups[known],
        tested_on=tested_on,
        notes=tuple(notes),
    )


def _take(subset: Subset) -> LabelledImages:
    store = subset.store
    if store.labels is None:
        raise ConfigError(f"{store.title}: has no labels; a utility test needs a class for each image")
    images = np.take(store.images.view(np.ndarray), subset.indices, axis=0)
    return LabelledImages(images=images, labels=store.labels[subset.indices])


# --- what the run has seen ---------------------------------------------------------------------------------


def _drop_seen(real: RealImages, folder: RunFolder, training: Subset, test: Subset, console: Console) -> RealImages:
    """Return the images without test images that training saw; refuse a test set of which it saw more than 1 %."""
    doubt, seen_by_run = "", training
    if training.store.digest != DataFacts.read(folder.data).digest or test.store is not training.store:
        try:
            own = open_own_images(folder, EvaluationOptions(), console)
            seen_by_run = Subset(store=own.store, indices=own.indices)
        except RunError as error:
            doubt = f"the run may have been trained on them, which could not be checked ({error})"
    _refuse_shared_tracks(seen_by_run, test, folder)
    known = set(_digests(training)) | set(_digests(seen_by_run))
    seen = np.array([digest in known for digest in _hash_images(real.test)], bool)
    if seen.mean() > MOST_SEEN and test.store is not seen_by_run.store:
        raise ConfigError(
            f"{test.store.title}: {count(seen.sum())} of {count(len(seen))} test images are training images of "
            f"{folder.path} or of --against; name images that were not trained on with --test DATA"
        )
    if not seen.any():
        return replace(real, doubt=doubt)
    note = f"{count(seen.sum())} test images that equal training images pixel by pixel are left out."
    rest = LabelledImages(images=real.test.images[~seen], labels=real.test.labels[~seen])
    return replace(real, doubt=doubt, test=rest, groups=real.groups[~seen], notes=(*real.notes, note))


def _refuse_shared_tracks(trained: Subset, test: Subset, folder: RunFolder) -> None:
    """Refuse test images of tracks that the run was trained on; equal numbers mean equal tracks in GTSRB only."""
    groups, others = trained.store.groups, test.store.groups
    if groups is None or others is None or trained.store.title != test.store.title:
        return
    shared = np.intersect1d(groups[trained.indices], others[test.indices])
    if len(shared):
        raise ConfigError(
            f"{test.store.title}: {count(len(shared))} tracks of the test images are among the training images of "
            f"{folder.path}; omit --against to test on what the run held out, or use --against.split held-out"
        )


def _digests(subset: Subset) -> Iterator[bytes]:
    images = subset.store.images
    return (hashlib.blake2b(images[index].tobytes(), digest_size=16).digest() for index in subset.indices.tolist())


def _hash_images(images: LabelledImages) -> Iterator[bytes]:
    return (hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images.images)
