"""Presets: whole configurations under a name; those of the five source documents keep their sizes and habits."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansmith.augment import FixedAugment
from gansmith.component import fields_set, override
from gansmith.data import resolve
from gansmith.data.cifar import Cifar10
from gansmith.data.folder import Folder
from gansmith.data.gtsrb import Gtsrb
from gansmith.data.idx import Mnist
from gansmith.data.signs.source import Signs
from gansmith.data.store import Preparation
from gansmith.errors import ConfigError, did_you_mean
from gansmith.losses import Hinge, RelativisticPairing
from gansmith.models.dcgan import DCGAN
from gansmith.models.dense import Dense
from gansmith.models.projected import Projected
from gansmith.optimizers import Adam
from gansmith.penalties import R1, R2
from gansmith.schedules import Duration
from gansmith.training.callbacks import LossLine
from gansmith.training.config import Config, differences
from gansmith.training.sample_sheets import SampleFiles, SampleGrid
from gansmith.trust import trust_user_input

__all__ = ["DEFAULT_PRESET", "PRESETS", "Preset", "build_config", "configure", "find_set_fields", "preset"]

DEFAULT_PRESET = "auto"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A configuration with a summary; its data are those that it was made for, and can be replaced."""

    summary: str
    config: Config


def preset(name: str) -> Config:
    """Return the configuration of that name.

    Raises:
        ConfigError: no preset has that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"preset: none is called '{name}'; {did_you_mean(name, PRESETS)}")
    return dataclasses.replace(PRESETS[name].config, preset=name)


_named = preset  # where an argument is called preset too


def configure(
    data: str | Path | None = None,
    *,
    root: str | Path | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration that ``train`` would use; "module:Class" in the arguments is imported.

    Args:
        data: a source's name or a path; the preset's own data if not given.
        root: where a local copy of a named source lies.
                preset: the settings to start from.
        overrides: fields by dotted path, as {"model.width": 32}.

    Raises:
        ConfigError: an unknown name or field, or a value that does not fit.
        DataError: neither a source nor a path.
    """
    with trust_user_input():
        return build_config(data, root=root, preset=preset, overrides=overrides)


def build_config(
    data: str | Path | None = None,
    *,
    root: str | Path | None = None,
    preset: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    """Return what ``configure`` does, from arguments that stand in a file: "module:Class" is not trusted."""
    config = _named(preset or DEFAULT_PRESET)
    if data is not None:
        config = dataclasses.replace(config, data=resolve(str(data), Path(root) if root else None))
    elif root is not None:
        raise ConfigError("root: says where a named data set lies; name the data set too")
    return override(config, overrides or {})


def find_set_fields(config: Config) -> frozenset[str]:
    """Return the dotted paths of the fields that the user has set, even to the values that they had.

    ``override`` remembers them. Of a configuration that was changed in another way, such as by ``dataclasses.replace``,
    those are added that differ from the preset's own.
    """
    own = PRESETS[config.preset].config if config.preset in PRESETS else config
    return fields_set(config) | differences(own, config).keys()


_EACH_EPOCH = SampleGrid(every=Duration(1, "epochs"), at_start=False, filename="image_at_epoch_{epoch:04}.png")

# The TensorFlow tutorial's 28-pixel network (document 000): two strided stages after one plain one.
_TUTORIAL = DCGAN(
    depth=2,
    plain_stages=1,
    kernel=5,
    generator_activation="leaky-relu",
    stem_norm="number",
    leak=0.3,
    discriminator_norm="none",
    dropout=0.3,
    init="glorot",
)
_DOCUMENT_000 = Config(
    data=Mnist(),
    preparation=Preparation(size=(28, 28)),
    use_labels=False,
    model=_TUTORIAL,
    generator_optimizer=Adam(lr=1e-4, betas=(0.9, 0.999), eps=1e-7),
    discriminator_optimizer=Adam(lr=1e-4, betas=(0.9, 0.999), eps=1e-7),
    batch_size=256,
    ema_halflife_kimg=20,  # its weights go round in circles: the pictures are those of their average
    length=Duration(50, "epochs"),
    checkpoint_every=Duration(15, "epochs"),
    samples=dataclasses.replace(_EACH_EPOCH, rows=4, columns=4),
)
_DOCUMENT_001 = Config(
    data=Mnist(),
    preparation=Preparation(size=(28, 28), channels="gray"),
    use_labels=False,
    model=Dense(width=256, latent="uniform", output="sigmoid"),
    generator_optimizer=Adam(lr=2e-4, betas=(0.9, 0.999)),
    discriminator_optimizer=Adam(lr=2e-4, betas=(0.9, 0.999)),
    batch_size=128,
    ema_halflife_kimg=0,
    length=Duration(100_000, "steps"),
    checkpoint_every=Duration(10_000, "steps"),
    samples=SampleGrid(every=Duration(2000, "steps"), rows=6, columns=6),
    callbacks=(LossLine(),),
)
_DOCUMENT_002 = Config(
    data=Gtsrb(),
    preparation=Preparation(size=(64, 64), channels="rgb"),
    use_labels=False,
    model=DCGAN(),
    batch_size=64,
    ema_halflife_kimg=0,
    length=Duration(200, "epochs"),
    checkpoint_every=Duration(10, "epochs"),
    samples=_EACH_EPOCH,
)
_DOCUMENT_003 = Config(
    data=Cifar10(),
    preparation=Preparation(size=(32, 32), channels="rgb"),
    use_labels=False,
    model=DCGAN(),
    batch_size=128,
    ema_halflife_kimg=0,
    length=Duration(1000, "epochs"),
    checkpoint_every=Duration(5, "epochs"),
    samples=dataclasses.replace(_EACH_EPOCH, rows=5, columns=5),
)
_DOCUMENT_004 = Config(
    data=Folder(path=Path("images")),
    preparation=Preparation(size=(128, 128), channels="rgb"),
    use_labels=False,
    model=DCGAN(width=32, output="sigmoid"),
    batch_size=32,
    ema_halflife_kimg=0,
    length=Duration(1000, "epochs"),
    checkpoint_every=Duration(10, "epochs"),
    samples=SampleFiles(every=Duration(100, "epochs"), at_start=False),
)

_FAST = Adam(lr=1e-3, betas=(0.0, 0.99))
_SMALL = Config(
    data=Signs(),
    model=DCGAN(width=32, max_multiple=4, z_dim=64, discriminator_norm="none", init="torch"),
    loss=RelativisticPairing(),
    penalties=(R1(gamma=1, every=4), R2(gamma=1, every=4)),
    generator_optimizer=_FAST,
    discriminator_optimizer=_FAST,
    batch_size=64,
    ema_halflife_kimg=10,
)
_TUNED = Adam(lr=1.2e-3, betas=(0.0, 0.99))
_AUTO = dataclasses.replace(
    _SMALL,
    penalties=(R1(gamma=0.3, every=8), R2(gamma=0.3, every=8)),
    generator_optimizer=_TUNED,
    discriminator_optimizer=_TUNED,
    batch_size=32,
    ema_halflife_kimg=500,  # of which a short training sees no more than the ramp
    ema_factors=(0.3, 3.0),
)

_PROJECTED = dataclasses.replace(
    _SMALL,
    data=Folder(path=Path("images")),
    model=Projected(),
    loss=Hinge(),
    penalties=(),
    augment=FixedAugment(),
)

PRESETS: dict[str, Preset] = {
    "auto": Preset(
        summary="chooses by the data, the device and the length: the best pictures that there is time for",
        config=_AUTO,
    ),
    "dcgan-r1": Preset(
        summary="narrow DCGAN, relativistic loss, R1 and R2, average of weights: good pictures in minutes, any data",
        config=_SMALL,
    ),
    "projected": Preset(
        summary="discriminator on a frozen ImageNet network, after Projected GAN: for photographs",
        config=_PROJECTED,
    ),
    "dcgan-mnist": Preset(summary="28-pixel DCGAN of TensorFlow's tutorial, 50 epochs", config=_DOCUMENT_000),
    "dcgan-gtsrb": Preset(
        summary="the same network on traffic signs in colour",
        config=dataclasses.replace(_DOCUMENT_000, data=Gtsrb(), preparation=Preparation(size=(28, 28), channels="rgb")),
    ),
    "dense-mnist": Preset(
        summary="two dense networks, 100,000 steps, a line of losses every 2,000", config=_DOCUMENT_001
    ),
    "dcgan-64": Preset(
        summary="DCGAN of Radford et al. 2016 at 64 pixels, 200 epochs: the baseline of comparisons",
        config=_DOCUMENT_002,
    ),
    "sndcgan-64": Preset(
        summary="the same with spectral normalisation in the discriminator (Miyato et al. 2018)",
        config=dataclasses.replace(_DOCUMENT_002, model=DCGAN(spectral_norm=True, discriminator_norm="none")),
    ),
    "dcgan-cifar10": Preset(summary="DCGAN at 32 pixels, a picture an epoch", config=_DOCUMENT_003),
    "dcgan-folder-128": Preset(
        summary="DCGAN for a folder of images at 128 pixels in [0, 1], 32 files of samples every 100 epochs",
        config=_DOCUMENT_004,
    ),
}
