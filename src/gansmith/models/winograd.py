"""Convolutions by minimal filtering (Winograd 1980; Lavin and Gray 2016), for many channels on a CPU.

In one direction, F(2, r) computes 2 neighbouring outputs of a filter with r taps from r + 1 inputs with r + 1
multiplications instead of 2r. A convolution of stride s is one of stride 1 over s * s phases of the map, so its kernel
of k = s * r elements has r taps. A kernel of 4x4 and stride 2 needs 9 multiplications instead of 16, one of 3x3 and
stride 1 needs 16 instead of 36. They are matrix products over all channels; the transforms around them only add.

The gradients are the adjoint of each transform in reverse order, so they need as few multiplications. The functions
here have no derivatives; ``convolution`` calls them for each of its three operations where ``algorithms`` chooses so.
Rounding errors are about twice those of the direct sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gansmith.models.geometry import Geometry

__all__ = ["applies", "convolve_tiles", "tile_input_gradient", "tile_weight_gradient"]

WORK_BYTES = 24 * 2**20  # of transformed maps at once: larger blocks leave the last cache, smaller ones cost calls
OUTPUTS = 2  # of a tile, in each direction

Row = tuple[int, ...]


class _Transforms(NamedTuple):
    """F(2, r): y = output ((scale * filter w) * (input x)), each a matrix of 0, 1 and -1."""

    input: tuple[Row, ...]
    filter: tuple[Row, ...]
    output: tuple[Row, ...]
    scale: tuple[float, ...]


_TRANSFORMS = {
    2: _Transforms(
        input=((1, -1, 0), (0, 1, 0), (0, -1, 1)),
        filter=((1, 0), (1, 1), (0, 1)),
        output=((1, 1, 0), (0, 1, 1)),
        scale=(1, 1, 1),
    ),
    3: _Transforms(
        input=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1)),
        filter=((1, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 1)),
        output=((1, 1, 1, 0), (0, 1, -1, 1)),
        scale=(1, 0.5, 0.5, 1),
    ),
}


def applies(kernel: Sequence[int], size: Sequence[int], geometry: Geometry) -> bool:
    """Return whether these functions can compute a convolution.

    Args:
        kernel: height and width of the kernel.
        size: height and width of the smaller map.
        geometry: stride, padding and groups.
    """
    taps, rest = divmod(kernel[0], geometry.stride)
    square = kernel[0] == kernel[1] and not rest and taps in _TRANSFORMS
    return square and geometry.groups == 1 and all(side % OUTPUTS == 0 for side in size)


class _Tiling(NamedTuple):
    """The sizes of one convolution.

    Args:
        stride: of the convolution.
        padding: of the convolution.
        taps: of the filter over phases, r.
        rows: tiles in a column of the smaller map.
        columns: tiles in a row of the smaller map.
        depth: channels of all phases of the larger map.
        outputs: channels of the smaller map.
    """

    stride: int
    padding: int
    taps: int
    rows: int
    columns: int
    depth: int
    outputs: int

    @classmethod
    def of(cls, weight: Sequence[int], size: Sequence[int], geometry: Geometry) -> _Tiling:
        """Return the sizes for a weight of shape [d c k k] and a smaller map of this size."""
        stride, padding, _ = geometry
        rows, columns = (side // OUTPUTS for side in size)
        return cls(stride, padding, weight[2] // stride, rows, columns, stride**2 * weight[1], weight[0])

    @property
    def transforms(self) -> _Transforms:
        return _TRANSFORMS[self.taps]

    @property
    def products(self) -> int:
        """Multiplications of a tile in one direction."""
        return self.taps + OUTPUTS - 1

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the padded larger map."""
        extra = self.taps - 1
        return self.stride * (OUTPUTS * self.rows + extra), self.stride * (OUTPUTS * self.columns + extra)

    def chunks(self, like: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield some images at a time, with memory for their tiles: [a a m i j e] of the larger map, [a a m i j d]."""
        tiles = self.products**2 * self.rows * self.columns
        each = tiles * (self.depth + self.outputs) * like.element_size()
        at_once = min(len(like), max(1, WORK_BYTES // each))
        larger, smaller = (like.new_empty(tiles * at_once * channels) for channels in (self.depth, self.outputs))
        for first in range(0, len(like), at_once):
            num = min(at_once, len(like) - first)
            shape = (self.products, self.products, num, self.rows, self.columns)
            yield (
                slice(first, first + num),
                larger[: num * tiles * self.depth].view(*shape, self.depth),
                smaller[: num * tiles * self.outputs].view(*shape, self.outputs),
            )


def convolve_tiles(
    x: Float[Tensor, "n c h w"], weight: Float[Tensor, "d c k k"], bias: Float[Tensor, "d"] | None, geometry: Geometry
) -> Float[Tensor, "n d i j"]:
    """Compute ``torch.nn.functional.conv2d``."""
    size = geometry.size(x.shape[2:], weight.shape[2:])
    tiling = _Tiling.of(weight.shape, size, geometry)
    filters = _transform_weight(weight, tiling)
    y = _empty_maps(x, len(weight), size)
    for some, larger, smaller in tiling.chunks(x):
        _transform_larger(x[some], larger, tiling)
        torch.bmm(_matrices(larger), filters.transpose(1, 2), out=_matrices(smaller))
        _transform_back_smaller(smaller, y[some], tiling)
    return y if bias is None else y.add_(bias[:, None, None])


def tile_input_gradient(
    gradient: Float[Tensor, "n d i j"], weight: Float[Tensor, "d c k k"], size: Sequence[int], geometry: Geometry
) -> Float[Tensor, "n c h w"]:
    """Return the gradient of x, whose ``size`` is [h w], from that of y: a transposed convolution."""
    tiling = _Tiling.of(weight.shape, gradient.shape[2:], geometry)
    filters = _transform_weight(weight, tiling)
    x = _empty_maps(gradient, weight.shape[1], size)
    for some, larger, smaller in tiling.chunks(gradient):
        _transform_smaller(gradient[some], smaller, tiling)
        torch.bmm(_matrices(smaller), filters, out=_matrices(larger))
        _transform_back_larger(larger, x[some], tiling)
    return x


def tile_weight_gradient(
    gradient: Float[Tensor, "n d i j"], x: Float[Tensor, "n c h w"], shape: Sequence[int], geometry: Geometry
) -> Float[Tensor, "d c k k"]:
    """Return the gradient of a weight of this shape from that of y."""
    tiling = _Tiling.of(shape, gradient.shape[2:], geometry)
    filters = x.new_zeros(tiling.products**2, tiling.outputs, tiling.depth)
    for some, larger, smaller in tiling.chunks(x):
        _transform_larger(x[some], larger, tiling)
        _transform_smaller(gradient[some], smaller, tiling)
        filters.baddbmm_(_matrices(smaller).transpose(1, 2), _matrices(larger))
    return _transform_back_weight(filters, shape, tiling)


# --- the transforms ----------------------------------------------------------------------------------------


def _transform_larger(x: Float[Tensor, "m c h w"], tiles: Float[Tensor, "a a m i j e"], tiling: _Tiling) -> None:
    """Write the tiles of the larger map: of each, a x a combinations of a x a neighbours in each phase."""
    (height, width), s = tiling.padded, tiling.stride
    phases = _pad(x, tiling).view(len(x), height // s, s, width // s, -1)
    out = tiles.view(*tiles.shape[:5], s, -1)  # its rows of phases
    neighbours = [_every_other(phases, 3, at, tiling.columns) for at in range(tiling.products)]
    for j, along_row in enumerate(tiling.transforms.input):
        combined = _combine(along_row, neighbours)
        below = [_every_other(combined, 1, at, tiling.rows).transpose(2, 3) for at in range(tiling.products)]
        for i, along_column in enumerate(tiling.transforms.input):
            _combine(along_column, below, out[i, j])


def _transform_back_larger(tiles: Float[Tensor, "a a m i j e"], x: Float[Tensor, "m c h w"], tiling: _Tiling) -> None:
    """Add up the tiles of the larger map where they overlap: the adjoint of ``_transform_larger``."""
    (height, width), s, p = tiling.padded, tiling.stride, tiling.padding
    found, columns = tiles.view(*tiles.shape[:5], s, -1), _transpose(tiling.transforms.input)
    rows = x.new_empty(tiling.products, len(x), height // s, tiling.columns, s, s * x.shape[1])
    for j in range(tiling.products):
        _add_overlapping(columns, [found[i, j] for i in range(tiling.products)], rows[j], 1)
    phases = x.new_empty(len(x), height // s, s, width // s, s * x.shape[1])
    _add_overlapping(columns, list(rows.transpose(3, 4)), phases, 3)
    padded = phases.view(len(x), height, width, -1)
    x.permute(0, 2, 3, 1).copy_(padded[:, p : p + x.shape[2], p : p + x.shape[3]])


def _transform_smaller(y: Float[Tensor, "m d h w"], tiles: Float[Tensor, "a a m i j d"], tiling: _Tiling) -> None:
    """Write the tiles of the smaller map: the adjoint of ``_transform_back_smaller``."""
    parts, columns = _outputs(y, tiling), _transpose(tiling.transforms.output)
    for i, along_column in enumerate(columns):
        combined = [_combine(along_column, [parts[at][q] for at in range(OUTPUTS)]) for q in range(OUTPUTS)]
        for j, along_row in enumerate(columns):
            _combine(along_row, combined, tiles[i, j])


def _transform_back_smaller(tiles: Float[Tensor, "a a m i j d"], y: Float[Tensor, "m d h w"], tiling: _Tiling) -> None:
    """Write the smaller map from its tiles."""
    parts, output = _outputs(y, tiling), tiling.transforms.output
    for at, along_column in enumerate(output):
        combined = [_combine(along_column, list(tiles[:, j])) for j in range(tiling.products)]
        for q, along_row in enumerate(output):
            _combine(along_row, combined, parts[at][q])


def _transform_weight(weight: Float[Tensor, "d c k k"], tiling: _Tiling) -> Float[Tensor, "aa d e"]:
    """Return the filters of all products."""
    s, r, a = tiling.stride, tiling.taps, tiling.products
    taps = weight.permute(0, 2, 3, 1).reshape(len(weight), r, s, r, s * weight.shape[1])
    filters = weight.new_empty(a, a, len(weight), s, s * weight.shape[1])
    for j, along_row in enumerate(tiling.transforms.filter):
        combined = _combine(along_row, list(taps.unbind(3)))
        for i, along_column in enumerate(tiling.transforms.filter):
            _combine(along_column, list(combined.unbind(1)), filters[i, j])
    return _scale(filters, tiling).view(a * a, len(weight), -1)


def _transform_back_weight(
    filters: Float[Tensor, "aa d e"], shape: Sequence[int], tiling: _Tiling
) -> Float[Tensor, "d c k k"]:
    """Return the weight from its filters: the adjoint of ``_transform_weight``."""
    s, r, a = tiling.stride, tiling.taps, tiling.products
    parts = _scale(filters.view(a, a, shape[0], s, s * shape[1]), tiling)
    weight = filters.new_empty(shape[0], r, s, r, s * shape[1])
    for t, along_column in enumerate(_transpose(tiling.transforms.filter)):
        combined = [_combine(along_column, list(parts[:, j])) for j in range(a)]
        for u, along_row in enumerate(_transpose(tiling.transforms.filter)):
            _combine(along_row, combined, weight[:, t, :, u])
    return weight.view(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2)


def _scale(filters: Float[Tensor, "a a d s e"], tiling: _Tiling) -> Tensor:
    """Multiply the filters by their scale, in place."""
    if min(tiling.transforms.scale) == 1:
        return filters
    scale = filters.new_tensor(tiling.transforms.scale)
    return filters.mul_(torch.outer(scale, scale)[..., None, None, None])


# --- their parts -------------------------------------------------------------------------------------------


def _combine(row: Row, parts: Sequence[Tensor], out: Tensor | None = None) -> Tensor:
    """Return the sum of the parts with the signs of a row, in ``out`` if it is given; one part alone may be a view."""
    (_, first), *rest = sorted(((-sign, part) for sign, part in zip(row, parts, strict=True) if sign), key=_sign)
    if not rest:
        return first if out is None else out.copy_(first)
    for negative, part in rest:
        total = torch.add(first, part, alpha=-negative, out=out)
        first = out = total
    return first


def _sign(term: tuple[int, Tensor]) -> int:
    return term[0]


def _add_overlapping(columns: Sequence[Row], parts: Sequence[Tensor], out: Tensor, dim: int) -> None:
    """Write to ``out`` the sum of tiles that begin at every other place of a dimension."""
    num = parts[0].shape[dim]
    out.narrow(dim, OUTPUTS * num, out.shape[dim] - OUTPUTS * num).zero_()
    for at, column in enumerate(columns):
        places = _every_other(out, dim, at, num)
        if at < OUTPUTS:
            _combine(column, parts, places)
            continue
        for sign, part in zip(column, parts, strict=True):
            if sign:
                places.add_(part, alpha=sign)


def _every_other(maps: Tensor, dim: int, first: int, num: int) -> Tensor:
    """Return ``num`` places of a dimension, two apart."""
    places = [slice(None)] * maps.dim()
    places[dim] = slice(first, first + OUTPUTS * (num - 1) + 1, OUTPUTS)
    return maps[tuple(places)]


def _pad(x: Float[Tensor, "m c h w"], tiling: _Tiling) -> Float[Tensor, "m h w c"]:
    """Return the larger map between zeros; a third of the time of ``torch.nn.functional.pad``."""
    (height, width), p = tiling.padded, tiling.padding
    padded = x.new_empty(len(x), height, width, x.shape[1])
    inside = padded[:, p : p + x.shape[2], p : p + x.shape[3]]
    bottom, right = p + inside.shape[1], p + inside.shape[2]
    for border in (padded[:, :p], padded[:, bottom:], padded[:, p:bottom, :p], padded[:, p:bottom, right:]):
        border.zero_()
    inside.copy_(x.permute(0, 2, 3, 1)[:, : inside.shape[1], : inside.shape[2]])  # rows that no kernel reaches are cut
    return padded


def _outputs(y: Float[Tensor, "m d h w"], tiling: _Tiling) -> list[list[Tensor]]:
    """Return the outputs of all tiles by their place in the tile, as views [m i j d]."""
    maps = y.permute(0, 2, 3, 1).reshape(len(y), tiling.rows, OUTPUTS, tiling.columns, OUTPUTS, -1)
    return [[maps[:, :, p, :, q] for q in range(OUTPUTS)] for p in range(OUTPUTS)]


def _transpose(rows: Sequence[Row]) -> list[Row]:
    return list(zip(*rows, strict=True))


def _matrices(tiles: Float[Tensor, "a a m i j e"]) -> Float[Tensor, "aa t e"]:
    return tiles.flatten(0, 1).flatten(1, 3)


def _empty_maps(like: Tensor, channels: int, size: Sequence[int]) -> Tensor:
    shape = (len(like), channels, *size)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
