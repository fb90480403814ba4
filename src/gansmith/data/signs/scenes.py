"""Renders an image of a sign: the face in perspective, a background, light, blur and noise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gansmith.data.signs.backgrounds import BACKGROUNDS, Field, Planes, paint
from gansmith.data.signs.faces import face
from gansmith.data.signs.factors import Scene
from gansmith.data.signs.shapes import REACH
from gansmith.data.source import Size
from gansmith.types import PixelArray

__all__ = ["render"]

_SUPERSAMPLING = 2
_LARGEST_FACE = 512  # pixels; larger signs are enlarged from it
_CAMERA = 4.0  # distance from the plate, in its radii
_POST = np.array((0.62, 0.63, 0.64), np.float32)[:, None, None]
_FADED = np.array((0.72, 0.68, 0.62), np.float32)[:, None, None]


def render(label: int, scene: Scene, size: Size, generator: np.random.Generator) -> PixelArray:
    """Render an image of a sign.

    Args:
        label: class of the sign.
        scene: the factors.
        size: height and width in pixels; the sign is scaled to the shorter side.
        generator: source of random numbers for the background's details and the noise.

    Returns:
        uint8 [h w 3].
    """
    picture = _background(scene, size, generator)
    sign = _seen(label, scene, size)
    colours, alpha = sign[:3], sign[3]
    picture = picture * (1 - alpha) + colours * (1 - scene.fading) + alpha * (scene.fading * _FADED)
    picture = _blurred(scene, ((picture - 0.5) * scene.contrast + 0.5) * _light(scene, size))
    picture += generator.standard_normal(picture.shape, dtype=np.float32) * scene.noise_sigma
    return np.ascontiguousarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def _background(scene: Scene, size: Size, generator: np.random.Generator) -> Planes:
    kind = tuple(BACKGROUNDS.values())[scene.background]
    picture = paint(kind, scene.background_tone, scene.background_detail, size, generator)
    picture *= 2**scene.backlight_stops
    centre, half = size[1] / 2 + scene.x * min(size), scene.post_width * min(size) / 2
    left, right = (min(max(round(edge), 0), size[1]) for edge in (centre - half, centre + half))
    picture[:, round(size[0] / 2) :, left:right] = _POST
    return picture


# --- geometry ------------------------------------------------------------------------------------------------


def _seen(label: int, scene: Scene, size: Size) -> Planes:
    """Return the face in perspective, float32 [4 h w], with colours premultiplied by alpha."""
    canvas = (size[1] * _SUPERSAMPLING, size[0] * _SUPERSAMPLING)
    resolution = min(_SUPERSAMPLING * min(size), _LARGEST_FACE)
    to_face = np.linalg.inv(_homography(scene, canvas) @ _plate(resolution))
    coefficients = (to_face / to_face[2, 2]).ravel()[:8].tolist()
    seen = face(label, resolution).transform(
        canvas, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )
    pixels = np.asarray(seen.reduce(_SUPERSAMPLING)).transpose(2, 0, 1)
    planes: Planes = np.divide(pixels, 255, dtype=np.float32, order="C")
    return planes


def _plate(resolution: int) -> NDArray[np.float64]:
    """Return the matrix from a face's pixels to plate radii about its centre."""
    step = 2 * REACH / resolution
    return np.array(((step, 0, -REACH), (0, step, -REACH), (0, 0, 1)))


def _homography(scene: Scene, canvas: tuple[int, int]) -> NDArray[np.float64]:
    """Return the matrix from plate radii to the pixels of a canvas of a (width, height)."""
    side = min(canvas)
    x, y, focal = canvas[0] / 2 + scene.x * side, canvas[1] / 2 + scene.y * side, scene.scale * side / 2
    camera = np.array(((focal, 0, x / _CAMERA), (0, focal, y / _CAMERA), (0, 0, 1 / _CAMERA)))
    turned = _turn(scene.yaw_degrees, 0, 2) @ _turn(scene.pitch_degrees, 2, 1) @ _turn(scene.rotation_degrees, 0, 1)
    plate = np.column_stack((turned[:, :2], (0, 0, _CAMERA)))  # where its two axes point, and its distance
    homography: NDArray[np.float64] = camera @ plate
    return homography


def _turn(degrees: float, axis: int, towards: int) -> NDArray[np.float64]:
    """Return a rotation matrix in space: x right, y down, z away from the camera."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    rotation = np.eye(3)
    rotation[[axis, towards], [axis, towards]] = cos
    rotation[towards, axis], rotation[axis, towards] = sin, -sin
    return rotation


# --- light and lens ------------------------------------------------------------------------------------------


def _light(scene: Scene, size: Size) -> Planes:
    """Return the light, by which each pixel and channel is multiplied, float32 [3 h w]."""
    stops = scene.brightness_stops + scene.gradient * _along(scene.gradient_degrees, size)
    shade = np.clip((_along(scene.shadow_degrees, size) - scene.shadow_offset) * 8 + 0.5, 0, 1)
    warmth = np.array((1 + scene.warmth, 1, 1 - scene.warmth), np.float32)
    light: Planes = np.exp2(stops) * (1 - scene.shadow * shade) * warmth[:, None, None]
    return light


def _along(degrees: float, size: Size) -> Field:
    """Return each pixel's distance from the centre along a direction, in shorter sides, float32 [h w]."""
    x, y = (np.arange(edge, dtype=np.float32) - (edge - 1) / 2 for edge in (size[1], size[0]))
    angle = math.radians(degrees)
    distance: Field = (x * math.cos(angle) + y[:, None] * math.sin(angle)) / min(size)
    return distance


def _blurred(scene: Scene, picture: Planes) -> Planes:
    """Apply defocus (a Gaussian) and motion blur (a line) in the frequency domain."""
    height, width = picture.shape[1:]
    sigma, length = (part * min(height, width) for part in (scene.blur_sigma, scene.motion_length))
    pad = math.ceil(3 * sigma + length / 2)  # the transform is periodic; the padding takes what wraps around
    padded = np.pad(picture, ((0, 0), (pad, pad), (pad, pad)), mode="symmetric")
    x, y = np.fft.rfftfreq(width + 2 * pad), np.fft.fftfreq(height + 2 * pad)[:, None]
    angle = math.radians(scene.motion_degrees)
    transfer = np.exp(-2 * (math.pi * sigma) ** 2 * (x * x + y * y))
    transfer *= np.sinc(length * (x * math.cos(angle) + y * math.sin(angle)))
    blurred = np.fft.irfft2(np.fft.rfft2(padded) * transfer.astype(np.float32), padded.shape[1:])
    return blurred[:, pad : pad + height, pad : pad + width].astype(np.float32)
