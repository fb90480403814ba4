"""The limits of the page."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from gansmith.errors import ConfigError

__all__ = ["APP_PORT", "AppSettings"]

APP_PORT = 7860
LARGEST = {  # of each number
    "most_images": 1024, "most_frames": 10_000, "most_pixels": 10**9, "most_upload_mb": 1000, "most_waiting": 10_000,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AppSettings:
    """The limits of the page.

    Args:
        most_images: images of one grid.
        most_frames: frames of one walk.
        most_pixels: pixels of one answer: images times height times width.
        most_upload_mb: megabytes of one uploaded picture.
        most_waiting: requests in the queue; beyond it, a visitor is asked to try again.
        password: visitors have to type it; None lets everybody in.
    """

    most_images: int = 64
    most_frames: int = 240
    most_pixels: int = 4_000_000
    most_upload_mb: int = 20
    most_waiting: int = 64
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self) if each.name in LARGEST):
            value = getattr(self, name)
            if not 1 <= value <= LARGEST[name]:
                raise ConfigError(f"{name}: {value} is out of range; expected 1 to {LARGEST[name]:,}")
        if self.password is not None and not self.password:
            raise ConfigError("password: it is empty; expected at least one character")
