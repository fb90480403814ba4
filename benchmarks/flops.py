"""Count the floating-point operations of a training step, layer by layer on two images.

A multiplication and an addition are two operations. Convolutions count each weight at each place of the smaller map,
including padding. Only convolutions and matrix products count.
"""

from __future__ import annotations

import copy
import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gansmith.penalties import R1, R2
from gansmith.training.config import Config
from gansmith.types import ImageSpec

__all__ = ["convolution_flops", "convolutions_in", "counted", "flops_per_image"]

IMAGES = 2  # of the batch that is counted


def flops_per_image(config: Config, spec: ImageSpec, *, simultaneous: bool = False) -> float:
    """What training needs for each real image, averaged over the steps between lazy penalties.

    Forward through both networks, backward to the weights of the one that is updated, through a frozen discriminator
    to the generator, and the penalties' gradients of gradients; nothing that no update needs.

    Args:
        config: of the training; of the penalties it may have R1 and R2.
        spec: of the images.
        simultaneous: both networks learn from the same pass through the discriminator, as in TensorFlow's tutorial.
    """
    cost = _Passes(config, spec)
    steps = config.discriminator_steps
    generator = (steps + (not config.reuse_fakes)) * cost.generator_forward + cost.generator_backward
    shown = 2 * (cost.forward + cost.backward) + cost.gradient_penalty * sum(map(_share, config.penalties))
    judged = cost.backward_to_images
    if not simultaneous:
        judged += cost.forward * (1 + config.loss.pairs)
    return float(generator + steps * shown + judged) / (steps * IMAGES)


def _share(penalty: Any) -> float:
    if not isinstance(penalty, (R1, R2)):
        raise SystemExit(f"{type(penalty).__name__}: what it needs is not counted yet; add it to {__file__}")
    return 1 / penalty.every


class _Passes:
    """The operations of each pass through the networks, for ``IMAGES`` images."""

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        generator, discriminator = config.model.generator(spec), config.model.discriminator(spec)
        z = torch.zeros(IMAGES, config.model.z_dim)
        images = torch.zeros(IMAGES, spec.channels, spec.height, spec.width)
        labels = torch.zeros(IMAGES, dtype=torch.int64) if spec.num_classes else None
        frozen = copy.deepcopy(discriminator).requires_grad_(False)
        seen = images.clone().requires_grad_()
        self.generator_forward, fake = _counted(lambda: generator(z, labels))
        self.generator_backward, _ = _counted(fake.sum().backward)
        self.forward, logits = _counted(lambda: discriminator(images, labels))
        self.backward, _ = _counted(logits.sum().backward)
        self.backward_to_images, _ = _counted(frozen(seen, labels).sum().backward)
        # The gradient to the images; then, through it, to the weights and to the gradients that it was made from.
        self.gradient_penalty = self.backward_to_images + 2 * self.forward


def counted(work: Callable[[], object]) -> int:
    """Return the operations of a function, on any device."""
    return _counted(work)[0]


def convolution_flops(
    inputs: Sequence[int], weights: Sequence[int], outputs: Sequence[int], *, transposed: bool = False
) -> int:
    """Of a convolution, or of its gradient to its inputs or to its weights, which need as many.

    Args:
        inputs: shape [n c h w].
        weights: shape, as the layer has it: the second number is that of one group.
        outputs: shape [n c h w].
        transposed: the layer enlarges.
    """
    places = inputs if transposed else outputs
    return 2 * places[0] * math.prod(places[2:]) * math.prod(weights)


def _convolution_backward_flops(gradient: Tensor, inputs: Tensor, weights: Tensor, *rest: Any, **_: Any) -> int:
    # In place of PyTorch's formula, which counts a group as if it saw the channels of all.
    transposed, wanted = rest[4], rest[7]
    return sum(wanted[:2]) * convolution_flops(inputs.shape, weights.shape, gradient.shape, transposed=transposed)


def convolutions_in(work: Callable[[], object]) -> list[tuple[Callable[[], object], int, int]]:
    """The different convolutions in some work: a function that does one again on noise, its operations, how often."""
    with _Recorder() as recorder:
        work()
    calls = [(functools.partial(operation, *map(_noise, args)), n) for (operation, args), n in recorder.calls.items()]
    return [(call, counted(call), times) for call, times in calls]


_FORMULAS = {**flop_registry, torch.ops.aten.convolution_backward: _convolution_backward_flops}


class _Counter(TorchDispatchMode):  # FlopCounterMode itself cannot watch the gradients of penalties
    total = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        if operation.overloadpacket in _FORMULAS:
            self.total += _FORMULAS[operation.overloadpacket](*args, **(kwargs or {}), out_val=made)
        return made


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[tuple[Any, tuple[Any, ...]]] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation.overloadpacket in (torch.ops.aten.convolution, torch.ops.aten.convolution_backward):
            self.calls[operation, tuple(map(_layout, args))] += 1
        return operation(*args, **(kwargs or {}))


@dataclass(frozen=True)
class _Layout:
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


def _layout(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return _Layout(tuple(argument.shape), argument.stride(), argument.dtype, argument.device)
    return tuple(argument) if isinstance(argument, list) else argument


def _noise(argument: Any) -> Any:
    if not isinstance(argument, _Layout):
        return argument
    reach = 1 + sum((side - 1) * stride for side, stride in zip(argument.shape, argument.strides, strict=True))
    noise = torch.randn(reach, dtype=argument.dtype, device=argument.device)
    return noise.as_strided(argument.shape, argument.strides)


def _counted(work: Callable[[], Any]) -> tuple[int, Any]:
    with _Counter() as counter:
        made = work()
    return counter.total, made
