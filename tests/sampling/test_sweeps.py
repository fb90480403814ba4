"""Sweeps: one thing varies, everything else is that of the sample."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gansmith.errors import ConfigError
from gansmith.models.projected import Projected
from gansmith.sampling.generator import TrainedGenerator
from gansmith.sampling.sweeps import mix_layers, sweep_classes, sweep_truncation
from gansmith.types import ImageSpec


def test_a_sweep_of_classes_has_the_samples_of_each(class_generator: TrainedGenerator) -> None:
    table = sweep_classes(class_generator, num=3, seed=5, truncation=0.7)
    assert table.row_names == ("stop", "yield")  # go had no training images
    assert table.column_names == ("seed 5", "seed 6", "seed 7")
    for row, name in zip(table.images, table.row_names, strict=True):
        assert np.array_equal(row, class_generator.sample(3, seed=5, label=name, truncation=0.7).images)
    some = sweep_classes(class_generator, ["yield", 0], num=1)
    assert some.row_names == ("yield", "stop")


def test_a_sweep_of_truncation_has_the_samples_at_each(class_generator: TrainedGenerator) -> None:
    table = sweep_truncation(class_generator, (0.2, 1), num=2, seed=3)
    assert table.row_names == ("seed 3", "seed 4") and table.column_names == ("0.2", "1")
    for column, truncation in enumerate((0.2, 1.0)):
        wanted = class_generator.sample(2, seed=3, truncation=truncation).images
        assert np.array_equal(table.images[:, column], wanted)
    assert sweep_truncation(class_generator, label="yield").column_names[-1] == "1"


def test_layers_of_another_class_come_in_from_the_end(class_generator: TrainedGenerator) -> None:
    table = mix_layers(class_generator, ["stop", "yield"], num=2, seed=5)
    assert table.column_names == ("0 of 2", "1 of 2", "2 of 2") and table.row_names == ("5 + 7", "6 + 8")
    for column, label in ((0, "stop"), (2, "yield")):
        assert np.array_equal(table.images[:, column], class_generator.sample(2, seed=5, label=label).images)
    middle = table.images[:, 1].astype(int)
    assert all(np.abs(middle - table.images[:, other]).max() > 8 for other in (0, 2))
    own = mix_layers(class_generator, num=2, seed=5).images[:, 2]
    (z, _), (_, labels) = class_generator.draw([5, 6]), class_generator.draw([7, 8])
    assert np.array_equal(own, class_generator.images(z, labels))


def test_gates_are_mixed_without_classes() -> None:
    spec, model = ImageSpec(height=64, width=64, channels=3), Projected(width=2, max_multiple=2, z_dim=8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = TrainedGenerator(network=model.generator(spec), model=model, spec=spec)
    table = mix_layers(generator, num=1)
    assert table.column_names == ("0 of 1", "1 of 1")
    assert np.array_equal(table.images[:, 0], generator.sample(1).images)


def test_networks_that_cannot_mix_say_which_can(small_generator: TrainedGenerator) -> None:
    with pytest.raises(ConfigError) as caught:
        mix_layers(small_generator)
    assert str(caught.value) == (
        "sweep: DCGAN cannot mix layers: the latent enters its first layer only; expected a model of several classes "
        "with --model.conditioning norm (dcgan, resnet), or projected (with classes, or from 64 pixels)"
    )
    spec = dataclasses.replace(small_generator.spec, num_classes=3)
    model = dataclasses.replace(small_generator.model, conditioning="embedding")
    embedded = dataclasses.replace(small_generator, model=model, spec=spec, network=model.generator(spec))
    with pytest.raises(ConfigError, match=r"^sweep: DCGAN cannot mix layers: the latent and the class enter its first"):
        mix_layers(embedded)


@pytest.mark.parametrize(
    ("sweep", "changed", "message"),
    [
        (sweep_classes, {"num": 65}, "num: 65 is out of range; expected 1 to 64 latents in a table"),
        (sweep_classes, {"labels": ["gone"]}, "label: no class is called 'gone'"),
        (sweep_truncation, {"truncations": [0.5, 2]}, "truncation: 2 is out of range"),
        (sweep_truncation, {"truncations": []}, "truncations: got none"),
        (sweep_truncation, {"seed": 2**63 - 2}, "seed: 9223372036854775806 is out of range"),
        (mix_layers, {"labels": ["stop"]}, "labels: got 1, expected two"),
        (mix_layers, {"truncation": 0}, "truncation: 0 is out of range"),
    ],
)
def test_values_out_of_range_are_one_line(
    class_generator: TrainedGenerator, sweep: object, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        sweep(class_generator, **changed)  # type: ignore[operator]
    assert str(caught.value).startswith(message)


def test_a_model_without_classes_has_none_to_sweep(small_generator: TrainedGenerator) -> None:
    with pytest.raises(ConfigError, match=r"^sweep: this model was trained without labels"):
        sweep_classes(small_generator)
