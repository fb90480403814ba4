"""Principal directions of the latent space: by the features of many samples, or by the weights of the first layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from gansmith.devices import require_bytes
from gansmith.errors import ConfigError
from gansmith.images.pixels import save_arrays
from gansmith.images.tables import ImageTable
from gansmith.models.model import suspend_training
from gansmith.sampling.generator import BATCH_SIZE, TrainedGenerator
from gansmith.types import send

__all__ = ["Directions", "DirectionsMethod", "find_directions"]

DirectionsMethod: TypeAlias = Literal["features", "weights"]
Weighted = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
MANY = 8  # Lanczos' method is used for matrices of more than this many rows per eigenvector
MOST_STEPS = 101  # columns of a strip


@dataclass(frozen=True, kw_only=True, eq=False)
class Directions:
    """Principal directions of a generator's latent space, the most important first.

    Args:
        generator: the generator.
        vectors: float32 [num z], of length 1; the element of the largest size is positive.
        shares: float64 [num], the share of the variance that each explains, in [0, 1].
        method: how they were found; see ``find_directions``.
        layer: name of the layer whose features or weights were used.
    """

    generator: TrainedGenerator
    vectors: Float32[Tensor, "num z"]
    shares: NDArray[np.float64]
    method: DirectionsMethod
    layer: str

    def __len__(self) -> int:
        return len(self.shares)

    def move(
        self, z: Float32[Tensor, "n z"], index: int, sigmas: Float[Tensor, "steps"]
    ) -> Float32[Tensor, "n steps z"]:
        """Return latents moved along a direction.

        Args:
            z: the latents.
            index: of the direction, from 0.
            sigmas: distances, in standard deviations of a latent.
        """
        spread = 3**-0.5 if self.generator.model.latent == "uniform" else 1.0
        return z[:, None] + sigmas.float()[None, :, None] * spread * self.vectors[index]

    def strip(self, *, seed: int = 0, label: int | str | None = None, reach: float = 3.0, steps: int = 7) -> ImageTable:
        """Return one row of images per direction, from -reach to +reach standard deviations; the middle is the sample.

        Args:
            seed: seed of the sample that is moved.
            label: its class; None gives the class of the seed.
            reach: standard deviations, more than 0.
            steps: images of a row, odd and at least 3.

        Raises:
            ConfigError: a value is out of range, or the class is unknown.
        """
        if not 0 < reach <= 100:
            raise ConfigError(f"reach: {reach} is out of range; expected more than 0 and at most 100")
        if not 3 <= steps <= MOST_STEPS or not steps % 2:
            raise ConfigError(f"steps: {steps} is out of range; expected an odd number from 3 to {MOST_STEPS}")
        z, labels = self.generator.draw([seed], self.generator.class_number(label))
        sigmas = torch.linspace(-reach, reach, steps)
        sigmas[steps // 2] = 0
        moved = torch.cat([self.move(z, i, sigmas)[0] for i in range(len(self))])
        images = self.generator.images(moved, None if labels is None else labels.repeat(len(moved)))
        return ImageTable(
            images=images.reshape(len(self), steps, *images.shape[1:]),
            row_names=tuple(f"{i + 1}: {share:.1%}" for i, share in enumerate(self.shares)),
            column_names=tuple(f"{sigma:+.3g} sigma" if sigma else "0" for sigma in sigmas.tolist()),
        )

    def save(self, path: Path) -> Path:
        """Write vectors, shares, method and layer as ``.npz``, and return the path."""
        about = {"method": np.array(self.method), "layer": np.array(self.layer)}
        return save_arrays(path, vectors=self.vectors.numpy(), shares=self.shares, **about)


def find_directions(
    generator: TrainedGenerator,
    method: DirectionsMethod = "features",
    num: int = 6,
    *,
    num_latents: int = 2000,
    seed: int = 0,
    label: int | str | None = None,
    layer: int = 2,
) -> Directions:
    """Find the directions of the latent space that change images most.

    Args:
        generator: the generator.
        method: "features" finds principal components of what an early layer reads, and the latent directions that
            predict them by linear regression (Haerkoenen et al. 2020, section 2.3). "weights" takes the eigenvectors
            of the product of the first layer's weights with their transpose (Shen and Zhou 2021, eq. 5); it needs no
            samples, and its shares are those of the squared change of the first layer's output.
        num: number of directions, from 1 to the length of the latent.
        num_latents: samples for "features". Directions within classes are found: each class's mean is subtracted.
        seed: seed of the first sample.
        label: class of the samples; None draws classes in the data's proportions.
        layer: for "features", which layer's input: 1 is the first layer with weights, which reads the latent.

    Raises:
        ConfigError: a number is out of range, the class is unknown, or the network has no such layer.
    """
    if not 1 <= num <= generator.model.z_dim:
        raise ConfigError(f"num: {num} is out of range; expected 1 to {generator.model.z_dim} directions")
    if method == "weights":
        name, weight = _first_layer(generator)
        _check_rank(num, weight)
        vectors, shares = _principal_axes(weight, num)
        return _directions(generator, vectors, shares, method, name)
    if not 2 * num < num_latents <= 1_000_000:
        raise ConfigError(f"num_latents: {num_latents} is out of range; expected {2 * num + 1} to 1,000,000")
    z, labels = generator.draw(range(seed, seed + num_latents), generator.class_number(label))
    name, features = _record(generator, z, labels, layer)
    _check_rank(num, features)
    centred = _subtract_means(features, labels)
    if not bool(centred.any()):
        raise ConfigError(f"layer: {layer}, {name}, reads the same for all latents; choose another layer")
    components, shares = _principal_axes(centred, num)
    coordinates = centred @ components.T
    vectors = torch.linalg.lstsq(coordinates, z.double()).solution
    return _directions(generator, vectors, shares, method, name)


def _check_rank(num: int, rows: Tensor) -> None:
    if num > rows.shape[1]:
        raise ConfigError(f"num: {num} directions, but the layer has {rows.shape[1]} numbers; choose a smaller value")


def _directions(
    generator: TrainedGenerator,
    vectors: Float64[Tensor, "num z"],
    shares: Float64[Tensor, "num"],
    method: DirectionsMethod,
    layer: str,
) -> Directions:
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    units = vectors * largest.sign() / vectors.norm(dim=1, keepdim=True).clamp_min(1e-300)
    return Directions(generator=generator, vectors=units.float(), shares=shares.numpy(), method=method, layer=layer)


def _principal_axes(rows: Float64[Tensor, "n d"], num: int) -> tuple[Float64[Tensor, "num d"], Float64[Tensor, "num"]]:
    """Return the right singular vectors of the largest singular values, and their shares of the squared sum."""
    if rows.shape[0] >= rows.shape[1] or num > rows.shape[0]:
        values, axes = _largest_eigenvectors(rows.T @ rows, num)
    else:  # the smaller product has the same eigenvalues
        values, vectors = _largest_eigenvectors(rows @ rows.T, num)
        axes = vectors @ rows
        axes = axes / axes.norm(dim=1, keepdim=True).clamp_min(1e-300)
    return axes, values.clamp_min(0) / rows.square().sum().clamp_min(1e-300)  # the sum of all eigenvalues


def _largest_eigenvectors(
    product: Float64[Tensor, "n n"], num: int
) -> tuple[Float64[Tensor, "num"], Float64[Tensor, "num n"]]:
    """Return the largest eigenvalues, descending, and their vectors; a few of many by Lanczos' method."""
    if MANY * num > len(product):
        values, vectors = torch.linalg.eigh(product)
    else:
        start = np.random.default_rng(0).normal(size=len(product))
        found, columns = eigsh(product.numpy(), num, which="LA", v0=start)
        order = found.argsort()
        values, vectors = torch.from_numpy(found[order]), torch.from_numpy(columns[:, order])
    return values.flip(0)[:num], vectors.flip(1)[:, :num].T


def _subtract_means(features: Float64[Tensor, "n d"], labels: Tensor | None) -> Float64[Tensor, "n d"]:
    """Subtract the mean of each class, or that of all."""
    groups = torch.zeros(len(features), dtype=torch.int64) if labels is None else labels
    counts = groups.bincount().clamp_min(1)
    sums = torch.zeros(len(counts), features.shape[1], dtype=features.dtype).index_add_(0, groups, features)
    means: Tensor = sums / counts[:, None]
    return features - means[groups]


# --- layers ------------------------------------------------------------------------------------------------


class _Found(Exception):
    """Ends a pass through the network as soon as the layer has been reached."""


def _record(
    generator: TrainedGenerator, z: Tensor, labels: Tensor | None, layer: int
) -> tuple[str, Float64[Tensor, "n d"]]:
    """Return the name of a layer and what it reads of each sample."""
    name, first = _find_layer(generator, layer, z[:1], None if labels is None else labels[:1])
    size = first[0].numel()
    require_bytes(
        8 * (3 * size * len(z) + 2 * min(size, len(z)) ** 2),
        torch.device("cpu"),
        "num_latents",
        f"{len(z):,} features of {size:,} numbers",
    )
    device, parts = next(generator.network.parameters()).device, list[Tensor]()

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        parts.append(inputs[0].detach().flatten(1).double().cpu())
        raise _Found

    with suspend_training(generator.network), _watch(generator.network, [name], lambda _: keep):
        for i in range(0, len(z), BATCH_SIZE):
            part = None if labels is None else send(labels[i : i + BATCH_SIZE], device)
            with suppress(_Found):
                generator.network(send(z[i : i + BATCH_SIZE], device), part)
    return name, torch.cat(parts)


def _find_layer(generator: TrainedGenerator, number: int, z: Tensor, labels: Tensor | None) -> tuple[str, Tensor]:
    """Return the name of the layer with weights that computes as the given one, and its input for one sample."""
    network, called = generator.network, list[tuple[str, Tensor]]()
    names = [name for name, module in network.named_modules() if isinstance(module, Weighted)]
    device = next(network.parameters()).device

    def note(name: str) -> Callable[..., None]:
        return lambda module, inputs: called.append((name, inputs[0].detach().clone()))

    with suspend_training(network), _watch(network, names, note):
        network(send(z, device), None if labels is None else send(labels, device))
    if not 1 <= number <= len(called):
        raise ConfigError(
            f"layer: {number} is out of range; {type(network).__qualname__} has {len(called)} layers with weights"
        )
    return called[number - 1]


def _first_layer(generator: TrainedGenerator) -> tuple[str, Float64[Tensor, "d z"]]:
    """Return the name of the layer that reads the latent, and its weights on it, whatever kind of layer it is.

    Raises:
        ConfigError: the first layer does not read the latent as it is.
    """
    z, labels = generator.draw([0])
    name, read = _find_layer(generator, 1, z, labels)
    num = z.shape[1]
    if read.dim() < 2 or read.shape[1] < num or not torch.equal(read[0].flatten()[:num].cpu(), z[0]):
        raise ConfigError(
            f"method: the first layer of {type(generator.network).__qualname__}, {name}, does not read the latent "
            "itself, so its weights have no directions of it; use the method 'features'"
        )
    units = torch.zeros(num + 1, *read.shape[1:], device=read.device)
    units[1:].flatten(1)[torch.arange(num), torch.arange(num)] = 1
    layer = generator.network.get_submodule(name)
    with suspend_training(layer):
        made = layer(units).flatten(1).double().cpu()
    return name, (made[1:] - made[0]).T


@contextmanager
def _watch(network: nn.Module, names: Sequence[str], make: Callable[[str], Callable[..., None]]) -> Iterator[None]:
    """Call ``make(name)(module, inputs)`` before each of the modules computes, while the block lasts."""
    hooks = [network.get_submodule(name).register_forward_pre_hook(make(name)) for name in names]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
