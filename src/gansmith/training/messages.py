"""What a session prints before and after training."""

from __future__ import annotations

import numpy as np
import torch
from rich.console import Console

from gansmith.console import print_lines
from gansmith.data.class_names import describe_classes
from gansmith.data.store import Store
from gansmith.errors import command
from gansmith.runs import RunFolder
from gansmith.training.stages import Built, Chosen, Prepared
from gansmith.training.state import TrainState
from gansmith.types import ImageSpec

__all__ = ["describe_data", "describe_duration", "introduce", "say_goodbye"]

FEW = 0.8  # of the planned measurements; with fewer, the reason is printed


def introduce(console: Console, folder: RunFolder, prepared: Prepared, chosen: Chosen, built: Built) -> None:
    """Print the data, the automatic choices, the networks and the device."""
    config, state = chosen.config, built.state
    quality = built.tracker.summary() if built.tracker else "not tracked; the last generator is kept"
    since = f"from step {state.step} " if state.step else ""
    lines = [
        f"data    {describe_data(prepared, use_labels=config.use_labels)}",
        *(f"auto    {reason}" for reason in chosen.reasons),
        *(f"init    {line}" for line in _describe_origin(state)),
        f"model   {config.preset}: {_describe_sizes(state)} weights",
        f"quality {quality}",
        f"device  {state.compute.name}, {state.compute.precision}, {torch.get_num_threads()} threads",
        *(f"note    {note}" for note in (*built.notes, *built.remarks)),
        f"run     {folder.path}, {since}for {config.length}",
    ]
    print_lines(console, lines)


def describe_data(prepared: Prepared, *, use_labels: bool) -> str:
    """Return one line about the images: how many, of which size and classes."""
    store = prepared.store
    spec = ImageSpec(height=store.spec.height, width=store.spec.width, channels=store.spec.channels)
    held_out = f", {len(prepared.held_out):,} of them held out" if len(prepared.held_out) else ""
    num = len(store.skipped)
    skipped = f", {num:,} file{'s' if num > 1 else ''} skipped" if num else ""
    return f"{store.title}: {len(store):,} images{held_out}, {spec}, {_describe_labels(store, use_labels)}{skipped}"


def _describe_labels(store: Store, use_labels: bool) -> str:
    if store.labels is None:
        return "no labels"
    if not use_labels:
        return f"its {len(store.class_names)} classes unused (--use_labels true trains with them)"
    counts = np.bincount(store.labels, minlength=len(store.class_names)).tolist()
    there = [name for name, count in zip(store.class_names, counts, strict=True) if count]
    return f"{describe_classes(counts)} ({', '.join(there[:3])}{', ...' if len(there) > 3 else ''})"


def describe_duration(seconds: float) -> str:
    """Return a duration in the unit that people use: "35 s", "12 min", "3.5 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def say_goodbye(console: Console, folder: RunFolder, state: TrainState, finished: bool) -> None:
    """Print how far training came, and the commands for what can be done next."""
    speed = state.nimg / max(state.seconds, 1e-9)
    verb = "finished" if finished else "stopped"
    again = "train on" if finished else "resume"
    longer = ' --length "..."' if finished else ""
    lines = [
        *_explain_few_measurements(state),
        f"{verb} at step {state.step}, {state.nimg / 1000:.0f} kimg, {speed:.0f} img/s",
        f"look at    {folder.images}, {folder.animation('gif')}",
        f"sample     {command('sample', folder.path)}",
        f"{again:10} {command('resume', folder.path)}{longer}",
    ]
    print_lines(console, lines)


def _describe_origin(state: TrainState) -> tuple[str, ...]:
    """Return what was taken from a trained model, when training begins."""
    origin = state.config.origin
    return origin.lines() if origin and not state.step else ()


def _describe_sizes(state: TrainState) -> str:
    short = {"generator": "G", "discriminator": "D"}
    sizes = {name: sum(weight.numel() for weight in network.parameters()) for name, network in state.networks.items()}
    return ", ".join(f"{short.get(name, name)} {size / 1e6:.2f} M" for name, size in sizes.items())


def _explain_few_measurements(state: TrainState) -> list[str]:
    """Say why the tracked metric was measured clearly less often than its interval, if it was."""
    tracking, progress = state.config.tracking, state.progress
    if tracking is None or not state.num_tracked:
        return []
    every = tracking.every
    passed = 100 * state.config.length.fraction(progress) if every.unit == "%" else every.count(progress)
    planned = int(passed / every.amount)
    if state.num_tracked >= FEW * planned:
        return []
    each = state.tracking_seconds / state.num_tracked
    why = f"each takes {each:.1f} s, and tracking may take {tracking.max_share:.0%} of the time (--tracking.max_share)"
    return [f"the metric was measured {state.num_tracked} times instead of {planned}: {why}"]
