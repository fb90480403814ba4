"""The state of a training: what is made, what follows, and that every field comes back from disk as it was."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gansmith import dist
from gansmith.component import override, to_plain
from gansmith.data.npz import Npz
from gansmith.devices import Compute
from gansmith.errors import ConfigError, DamagedCheckpoint, RunError
from gansmith.models.dcgan import DCGAN
from gansmith.models.dense import Dense
from gansmith.training import checkpoint, memory, state
from gansmith.training.checkpoint import go_back, load_state, load_tensors, load_weights, save_generator, save_state
from gansmith.training.checkpoint_files import open_checkpoint
from gansmith.training.config import Config
from gansmith.training.memory import halve_micro_batch, require_training_memory
from gansmith.training.state import TrainState, place
from gansmith.types import ImageSpec
from thread_ranks import Ranks

CPU = Compute(device=torch.device("cpu"), precision="float32")
SPEC = ImageSpec(height=8, width=8, channels=3)
PLAIN: dict[str, Any] = {"batch_size": 8, "ema_halflife_kimg": 0.032, "ema_ramp": 1.0, "length": "1 kimg"}


def make_state(seed: int = 0, **changes: Any) -> TrainState:
    config = Config(data=Npz(path=Path("nowhere.npz")), model=DCGAN(width=4, z_dim=6), seed=seed)
    return TrainState.create(override(config, {**PLAIN, **changes}), SPEC, CPU, epoch_size=100)


def step(trained: TrainState) -> None:
    """Give each weight a gradient, and take one step of each optimizer."""
    stream = torch.Generator().manual_seed(1)
    for optimizer in (trained.optimizers["generator"], trained.optimizers["discriminator"]):
        for parameter in optimizer.param_groups[0]["params"]:
            parameter.grad = torch.randn(parameter.shape, generator=stream)
        optimizer.step()


def networks_of(trained: TrainState) -> dict[str, nn.Module]:
    """The networks, and what makes images with averaged weights."""
    return {**trained.networks, "generator_ema": trained.generator_ema}


def everything(trained: TrainState) -> dict[str, Any]:
    """All that a checkpoint keeps, as plain numbers."""
    counts = ("nimg", "step", "seconds", "tracking_seconds", "num_tracked", "num_events")
    found: dict[str, Any] = {name: getattr(trained, name) for name in counts}
    values = ("augment_p", "held_out", "sign", "logit_averages")
    found |= {name: str(getattr(trained.feedback, name).tolist()) for name in values}  # NaN is not equal to itself
    others = {str(factor): averages["generator"] for factor, averages in trained.other_averages.items()}
    for name, network in {**networks_of(trained), **others}.items():
        found |= {f"{name}.{key}": value.tolist() for key, value in network.state_dict().items()}
    for name in ("generator", "discriminator"):
        moments = trained.optimizers[name].state
        for key, parameter in trained.networks[name].named_parameters():
            found |= {f"{name}.{key}.{kind}": value.tolist() for kind, value in moments.get(parameter, {}).items()}
    return {**found, "statistics": trained.statistics.to_plain()}


def eventful(**changes: Any) -> TrainState:
    """A state no field of which is as it was made."""
    made = make_state(**changes)
    step(made)
    made.nimg, made.step, made.seconds = 640, 40, 12.5
    made.tracking_seconds, made.num_tracked, made.num_events = 2.5, 3, 7
    made.feedback.augment_p.fill_(0.25)
    made.feedback.held_out.fill_(0.75)
    made.feedback.sign.fill_(0.375)
    made.feedback.logit_averages.copy_(torch.tensor([1.5, -2.5]))
    made.update_averages(made.config.batch_size * made.config.discriminator_steps)
    made.statistics.add({"loss/generator": torch.tensor([1.0, 2.0])})
    return made


# --- made --------------------------------------------------------------------------------------------------


def test_networks_are_made_to_be_trained_and_the_average_is_not() -> None:
    before = torch.get_rng_state()
    made = make_state()
    assert torch.equal(torch.get_rng_state(), before)
    assert made.generator.training and made.networks["discriminator"].training and not made.generator_ema.training
    assert not any(parameter.requires_grad for parameter in made.generator_ema.parameters())
    for mine, averaged in zip(
        made.generator.state_dict().values(), made.generator_ema.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, averaged) and mine.data_ptr() != averaged.data_ptr()
    for name in ("augment_p", "sign", "overfitting"):
        assert getattr(made.feedback, name).shape == () and getattr(made.feedback, name) == 0
    assert made.feedback.held_out.shape == () and made.feedback.held_out.isnan()
    assert made.feedback.logit_averages.tolist() == [0, 0]
    assert (made.nimg, made.step, made.seconds, made.tracking_seconds) == (0, 0, 0, 0)
    assert (made.num_tracked, made.num_events, made.notices, made.micro_batch) == (0, 0, [], 8)
    assert make_state(micro_batch=3).micro_batch == 3
    assert made.progress.epoch == 0 and dataclasses.replace(made.progress, nimg=150).epoch == 1.5


def test_a_state_begins_with_nothing() -> None:
    made = make_state()
    needed = ("config", "spec", "compute", "epoch_size", "networks", "averages", "optimizers")
    given = {name: getattr(made, name) for name in needed}
    one, two = TrainState(**given), TrainState(**given)
    assert everything(one) == everything(made) and one.notices == [] and one.micro_batch == 2**31
    assert one.statistics is not two.statistics and one.notices is not two.notices
    assert one.feedback.augment_p is not two.feedback.augment_p and one.feedback.held_out is not two.feedback.held_out


def test_the_first_weights_are_the_models_own_of_the_seeds_stream() -> None:
    made = make_state(seed=9)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(state.random_stream(9).initial_seed())
        wanted = made.config.model.generator(SPEC), made.config.model.discriminator(SPEC)
    for ours, theirs in zip((made.generator, made.networks["discriminator"]), wanted, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_each_optimizer_has_its_own_networks_weights_and_settings() -> None:
    made = make_state(**{"generator_optimizer.lr": 0.25, "discriminator_optimizer.lr": 0.5})
    for name, lr in (("generator", 0.25), ("discriminator", 0.5)):
        (group,) = made.optimizers[name].param_groups
        assert group["lr"] == lr
        assert list(map(id, group["params"])) == list(map(id, made.networks[name].parameters()))


def test_given_networks_take_the_place_of_the_models() -> None:
    pair = DCGAN(width=2, z_dim=3).generator(SPEC), DCGAN(width=2, z_dim=3).discriminator(SPEC)
    config = override(Config(data=Npz(path=Path("nowhere.npz"))), PLAIN)
    made = TrainState.create(
        config, SPEC, CPU, epoch_size=1, networks=lambda: {"generator": pair[0], "discriminator": pair[1]}
    )
    assert (made.generator, made.networks["discriminator"]) == pair


def test_convolutions_are_channels_last() -> None:
    network = place(nn.Conv2d(4, 6, 3), torch.device("cpu"))
    assert network.weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr,operator]


def test_freed_memory_is_kept_on_a_processor_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(state, "keep_freed_memory", lambda: kept.append(1))
    make_state()
    assert kept == [1]
    elsewhere = Compute(device=torch.device("meta"), precision="float32")
    config = override(Config(data=Npz(path=Path("nowhere.npz")), model=Dense(width=4)), PLAIN)
    made = TrainState.create(config, SPEC, elsewhere, epoch_size=1)
    assert kept == [1]
    assert {
        each.device
        for each in (made.feedback.augment_p, made.feedback.held_out, made.feedback.sign, made.feedback.logit_averages)
    } == {elsewhere.device}
    assert {each.device for each in (*made.generator.parameters(), *made.networks["discriminator"].parameters())} == {
        elsewhere.device
    }


def test_memory_for_weights_and_batches_is_asked_for_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(memory, "require_bytes", lambda *given: asked.append(given))
    made = make_state()
    num = sum(p.numel() for network in (made.generator, made.networks["discriminator"]) for p in network.parameters())
    weights, images = f"networks of {num:,} weights", f"batches of 8 images of {SPEC}"
    # float32: the weights, their gradients and Adam's two averages; real and generated pixels
    assert asked == [
        (4 * 4 * num, CPU.device, "config.model", weights),
        (2 * 4 * 8 * 8 * 8 * 3, CPU.device, "config.batch_size", images),
    ]
    more = override(made.config, {"ema_factors": [0.5, 2.0]})
    require_training_memory(more, SPEC, CPU)
    averaged = sum(p.numel() for p in made.generator.parameters())
    assert asked[-2][0] == 4 * 4 * num + 2 * 4 * averaged
    monkeypatch.setattr(dist, "world_size", lambda: 4)
    require_training_memory(made.config, SPEC, CPU)
    assert asked[-1][0] == 2 * 4 * 2 * 8 * 8 * 3


def test_what_cannot_be_measured_without_memory_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "require_bytes", lambda *given: pytest.fail("asked for"))
    config = make_state_config()
    raised: list[Exception] = []

    def refuse(*_: Any) -> None:
        raised.append(RuntimeError() if raised else NotImplementedError())
        raise raised[-1]

    monkeypatch.setattr(DCGAN, "generator", refuse)
    for _ in range(2):
        require_training_memory(config, SPEC, CPU)
    assert [type(error) for error in raised] == [NotImplementedError, RuntimeError]


def make_state_config() -> Config:
    return override(Config(data=Npz(path=Path("nowhere.npz")), model=DCGAN(width=4, z_dim=6)), PLAIN)


def test_memory_is_not_asked_for_with_networks_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "require_bytes", lambda *given: pytest.fail("asked for"))
    pair = DCGAN(width=2, z_dim=3).generator(SPEC), DCGAN(width=2, z_dim=3).discriminator(SPEC)
    made = TrainState.create(
        make_state_config(),
        SPEC,
        CPU,
        epoch_size=1,
        networks=lambda: {"generator": pair[0], "discriminator": pair[1]},
    )
    assert (made.generator, made.networks["discriminator"]) == pair


def test_the_check_of_memory_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    require_training_memory(make_state_config(), SPEC, CPU)
    assert torch.equal(torch.get_rng_state(), before)


# --- what follows ------------------------------------------------------------------------------------------


def test_rates_and_augmentation_follow_their_schedules() -> None:
    augment = {"name": "fixed", "p": 0.5, "operations": ["translation"], "schedule": {"name": "linear", "end": 0.2}}
    rates: dict[str, Any] = {
        "generator_optimizer": {"name": "adam", "lr": 0.5, "schedule": "linear"},
        "discriminator_optimizer": {"name": "adam", "lr": 0.25, "schedule": {"name": "linear", "end": 0.5}},
    }
    made = make_state(**rates, augment=augment)
    made.nimg = 250
    made.follow_schedules()
    assert made.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(0.375)
    assert made.optimizers["discriminator"].param_groups[0]["lr"] == pytest.approx(0.25 * 0.875)
    assert made.feedback.augment_p.item() == pytest.approx(0.5 * (1 - 0.8 / 4))


def test_an_adaptive_probability_is_not_scheduled() -> None:
    made = make_state(augment={"name": "adaptive", "operations": ["translation"]})
    made.feedback.augment_p.fill_(0.3)
    made.follow_schedules()
    assert made.feedback.augment_p.item() == pytest.approx(0.3)


def test_the_logits_averages_move_by_a_hundredth_to_the_means_of_all_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks, states = Ranks(2), [make_state(penalties="r1,lecam") for _ in range(2)]
    monkeypatch.setattr(dist, "torch_dist", ranks)
    logits = [
        (torch.tensor([1.0, 2.0]), torch.tensor([-4.0, 0.0])),
        (torch.tensor([5.0, 6.0]), torch.tensor([2.0, 4.0])),
    ]
    for each in states:
        each.feedback.logit_averages.copy_(torch.tensor([10.0, -10.0]))
    ranks.run(lambda rank: states[rank].feedback.learn_from_logits(states[rank].config, *logits[rank]))
    for each in states:
        assert each.feedback.logit_averages.tolist() == pytest.approx([9.9 + 0.035, -9.9 + 0.005])


@pytest.mark.parametrize(("loss", "wanted"), [("sigmoid", 0.5), ("relativistic", 0.0)])
def test_the_sign_of_logits_is_that_of_all_ranks(monkeypatch: pytest.MonkeyPatch, loss: str, wanted: float) -> None:
    """With a target between the means of the ranks: 0 and 1, of pairs -1 and 1."""
    ranks = Ranks(2)
    augment = {"name": "adaptive", "kimg": 0.08, "operations": ["translation"], "target": wanted - 0.05}
    states = [make_state(loss=loss, augment=augment) for _ in range(2)]
    monkeypatch.setattr(dist, "torch_dist", ranks)
    real = [torch.tensor([-1.0, 2.0]), torch.tensor([3.0, 3.0])]

    def learn(rank: int) -> None:
        states[rank].feedback.learn_from_logits(states[rank].config, real[rank], torch.tensor([2.5, 2.5]))

    ranks.run(
        lambda rank: states[rank].feedback.learn_from_logits(states[rank].config, real[rank], torch.tensor([2.5, 2.5]))
    )
    assert [each.feedback.augment_p.item() for each in states] == pytest.approx([0.1, 0.1])
    ranks.run(
        lambda rank: states[rank].feedback.learn_from_logits(states[rank].config, real[rank], torch.tensor([2.5, 2.5]))
    )
    assert [each.feedback.augment_p.item() for each in states] == pytest.approx([0.2, 0.2])


def test_probes_leave_their_figure_or_nothing() -> None:
    made = make_state()
    made.feedback.sign.fill_(-0.25)
    for figures, wanted in (({"guard/overfitting": 0.5}, 0.5), ({}, 0.5), ({"guard/diversity": 2.0}, -0.25)):
        made.feedback.learn_from_probes(figures)
        assert made.feedback.overfitting.item() == wanted
    assert made.feedback.held_out.isnan()


def test_the_average_follows_by_the_images_of_all_of_the_discriminators_steps() -> None:
    made = make_state(discriminator_steps=4, ema_halflife_kimg=0.032)  # half of it a step of 4 x 8 images
    old = [value.clone() for value in made.generator_ema.parameters()]
    made.nimg = 10_000
    step(made)
    made.update_averages(made.config.batch_size * made.config.discriminator_steps)
    for before, new, averaged in zip(old, made.generator.parameters(), made.generator_ema.parameters(), strict=True):
        torch.testing.assert_close(averaged, (before + new) / 2)


def test_other_averages_are_those_of_other_half_lives_at_every_fourth_step() -> None:
    made = make_state(ema_factors=[0.25, 2.0], ema_halflife_kimg=10, ema_ramp=0.6)
    stream = torch.Generator().manual_seed(0)
    weight = next(made.generator.parameters())
    wanted = {factor: weight.detach().clone() for factor in (1.0, 0.25, 2.0)}
    for made.step in range(1, 10):
        made.nimg = 8 * made.step
        with torch.no_grad():
            weight.copy_(torch.randn(weight.shape, generator=stream))
        made.update_averages(8)
        for factor, old in wanted.items():
            halflife = min(10_000 * factor, made.nimg * min(1.0, 0.6 * factor))
            if factor == 1 or made.step % 4 == 0:
                left = 0.5 ** ((8 if factor == 1 else 32) / halflife)
                old.mul_(left).add_(weight.detach(), alpha=1 - left)
    averages = {1.0: made.averages, **made.other_averages}
    assert list(averages) == list(wanted)
    for factor, averaged in averages.items():
        torch.testing.assert_close(next(averaged["generator"].parameters()), wanted[factor])
    assert not any(each["generator"].training for each in averages.values())


@pytest.mark.parametrize("changes", [{"ema_halflife_kimg": 0.0}, {"tracking": None}])
def test_other_averages_that_nothing_would_choose_are_not_kept(changes: dict[str, Any]) -> None:
    assert make_state(ema_factors=[0.5], **changes).other_averages == {}


def test_without_an_average_nothing_is_averaged() -> None:
    made = make_state(ema_halflife_kimg=0)
    wanted = [value.clone() for value in made.generator.parameters()]
    made.nimg = 100
    made.update_averages(made.config.batch_size * made.config.discriminator_steps)
    assert made.generator_ema is made.generator
    assert all(torch.equal(a, b) for a, b in zip(wanted, made.generator.parameters(), strict=True))


def test_a_number_that_is_none_is_found_in_another_average() -> None:
    made = make_state(ema_factors=[0.5])
    with torch.no_grad():
        next(made.other_averages[0.5]["generator"].parameters()).fill_(math.nan)
    assert not made.is_finite()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["generator", "discriminator", "generator_ema"])
def test_one_number_that_is_none_is_found_in_any_network(name: str, bad: float) -> None:
    made = make_state()
    assert made.is_finite()
    values = [value for value in networks_of(made)[name].state_dict().values() if value.is_floating_point()]
    with torch.no_grad():
        values[-1][(-1,) * values[-1].dim()] = bad
    assert not made.is_finite()


def test_micro_batches_are_halved_until_one_image_is_left() -> None:
    made, sizes = make_state(**{"model.discriminator_norm": "none"}), []
    for _ in range(3):
        halve_micro_batch(made, made.networks["discriminator"])
        sizes.append(made.micro_batch)
    assert sizes == [4, 2, 1]
    assert made.notices[1] == "memory ran out: the discriminator now sees 2 images at once, with the same sums"
    with pytest.raises(ConfigError) as caught:
        halve_micro_batch(made, made.networks["discriminator"])
    assert str(caught.value) == (
        "config.batch_size: 1 images do not fit through the discriminator into the memory of CPU, not even one by one; "
        "choose a smaller batch, width or size"
    )


def test_half_of_a_rank_s_share_is_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_state(**{"model.discriminator_norm": "none"})
    monkeypatch.setattr(dist, "world_size", lambda: 2)
    halve_micro_batch(made, made.networks["discriminator"])
    assert made.micro_batch == 2


def test_batch_normalisation_does_not_allow_parts() -> None:
    mixing = make_state(**{"model.discriminator_norm": "batch", "model.depth": 2})
    with pytest.raises(ConfigError, match="memory of CPU, its batch normalisation needs all at once; choose"):
        halve_micro_batch(mixing, mixing.networks["discriminator"])


def test_a_gpus_freed_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given.append("back"))
    made = make_state(**{"model.discriminator_norm": "none"})
    halve_micro_batch(made, made.networks["discriminator"])
    assert given == []
    made.compute = Compute(device=torch.device("cuda"), precision="float32")
    halve_micro_batch(made, made.networks["discriminator"])
    assert given == ["back"]


# --- to disk and back --------------------------------------------------------------------------------------


@pytest.mark.parametrize("halflife", [0.032, 0.0])
def test_every_field_comes_back(halflife: float, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"ema_halflife_kimg": halflife, "ema_factors": [0.5, 1e-7]}
    saved, other = eventful(**changes), make_state(seed=1, **changes)
    assert everything(saved) != everything(other)
    save_state(saved, tmp_path, saved.statistics.to_plain())
    load_state(other, tmp_path)
    assert everything(other) == everything(saved)
    kinds = {"step", "exp_avg", "exp_avg_sq"}
    for mine, theirs in ((other, saved), (saved, other)):
        for name in ("generator", "discriminator"):
            moments, wanted = (each.optimizers[name].state for each in (mine, theirs))
            for one, two in zip(
                networks_of(mine)[name].parameters(), networks_of(theirs)[name].parameters(), strict=True
            ):
                assert moments[one].keys() == kinds
                assert all(moments[one][kind].stride() == wanted[two][kind].stride() for kind in kinds)
    step(saved), step(other)
    assert everything(other) == everything(saved)


@pytest.mark.parametrize("halflife", [0.032, 0.0])
def test_the_files_of_a_checkpoint(halflife: float, tmp_path: Path) -> None:
    saved = eventful(ema_halflife_kimg=halflife)
    save_state(saved, tmp_path, saved.statistics.to_plain())
    stems = ["discriminator", "generator", *(["generator_ema"] if halflife else []), "optimizers"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{stem}.safetensors" for stem in stems] + [
        "state.json"
    ]
    for stem in ("generator", "discriminator"):
        network = networks_of(saved)[stem].state_dict()
        found = load_file(tmp_path / f"{stem}.safetensors")
        assert found.keys() == network.keys() and all(torch.equal(found[name], network[name]) for name in found)
    names = {
        f"{stem}.{kind}.{name}"
        for stem in ("generator", "discriminator")
        for name, _ in networks_of(saved)[stem].named_parameters()
        for kind in ("step", "exp_avg", "exp_avg_sq")
    }
    assert load_file(tmp_path / "optimizers.safetensors").keys() == names
    plain = json.loads((tmp_path / "state.json").read_text())
    told = {
        "nimg": 640, "step": 40, "seconds": 12.5, "tracking_seconds": 2.5, "num_tracked": 3, "augment_p": 0.25,
        "held_out": 0.75, "sign": 0.375, "logit_averages": [1.5, -2.5], "num_events": 7,
        "statistics": [{"keys": ["loss/generator"], "sums": [[2.0, 3.0, 5.0]]}], "config": to_plain(saved.config),
    }  # fmt: skip
    assert {name: plain[name] for name in told} == json.loads(json.dumps(told))
    assert plain.keys() - told.keys() == {"files", "seal"}


@pytest.mark.parametrize(("halflife", "stem"), [(0.032, "generator_ema"), (0.0, "generator")])
def test_the_generator_that_pictures_are_made_with_is_saved_alone(halflife: float, stem: str, tmp_path: Path) -> None:
    saved = eventful(ema_halflife_kimg=halflife)
    save_generator(saved, tmp_path, {"value": 3.5})
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{stem}.safetensors", "state.json"]
    found, wanted = load_file(tmp_path / f"{stem}.safetensors"), saved.generator_ema.state_dict()
    assert found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in found)
    plain = json.loads((tmp_path / "state.json").read_text())
    assert (plain["nimg"], plain["step"], plain["value"]) == (640, 40, 3.5)
    assert (plain["seconds"], plain["tracking_seconds"], plain["num_tracked"]) == (12.5, 2.5, 3)


def test_averaging_can_begin_with_the_generator_of_a_run_without_it(tmp_path: Path) -> None:
    saved, other = eventful(ema_halflife_kimg=0), make_state(seed=1)
    save_state(saved, tmp_path, [])
    load_state(other, tmp_path)
    for one, two in zip(other.generator_ema.parameters(), saved.generator.parameters(), strict=True):
        assert torch.equal(one, two)


def test_other_averages_can_begin_with_the_running_one(tmp_path: Path) -> None:
    saved, other = eventful(ema_factors=[0.5]), make_state(seed=1, ema_factors=[0.5, 3.0])
    save_state(saved, tmp_path, [])
    load_state(other, tmp_path)
    for factor, wanted in ((0.5, saved.other_averages[0.5]), (3.0, saved.averages)):
        found = other.other_averages[factor]["generator"].state_dict()
        assert all(torch.equal(found[name], value) for name, value in wanted["generator"].state_dict().items())
    names = sorted(path.name for path in tmp_path.glob("generator*"))
    assert names == ["generator.safetensors", "generator_ema.safetensors", "generator_ema_x0_5.safetensors"]
    without = make_state(seed=1)
    load_state(without, tmp_path)  # which leaves them out
    assert without.other_averages == {}


def test_the_average_of_a_run_with_one_is_never_its_generator(tmp_path: Path) -> None:
    saved, other = eventful(), make_state(seed=1)
    save_state(saved, tmp_path, [])
    (tmp_path / "generator_ema.safetensors").unlink()
    with pytest.raises(DamagedCheckpoint):
        load_state(other, tmp_path)


def test_a_file_that_was_not_read_is_damage(tmp_path: Path) -> None:
    saved = eventful()
    save_state(saved, tmp_path, [])
    whole = open_checkpoint(tmp_path)
    for stem in ("generator", "generator_ema", "discriminator", "optimizers"):
        less = {name: tensors for name, tensors in whole.tensors.items() if name != stem}
        with pytest.raises(DamagedCheckpoint, match=rf"the checkpoint has no {stem}\.safetensors"):
            load_state(make_state(), dataclasses.replace(whole, tensors=less))
    other = make_state(seed=1)
    load_state(other, whole)
    assert everything(other) == {**everything(saved), "statistics": []}


def test_files_of_another_network_are_named(tmp_path: Path) -> None:
    save_state(eventful(), tmp_path, [])
    with pytest.raises(RunError, match=rf"{tmp_path}/generator\.safetensors: holds the weights of another network"):
        load_state(make_state(**{"model.width": 8}), tmp_path)
    whole = open_checkpoint(tmp_path)
    wrong = {**whole.tensors, "optimizers": {"more": torch.zeros(1)}}
    with pytest.raises(RunError, match=rf"{tmp_path}/optimizers\.safetensors: holds a tensor"):
        load_state(make_state(), dataclasses.replace(whole, tensors=wrong))


def test_going_back_turns_back_everything_but_the_time(tmp_path: Path) -> None:
    made = eventful()
    save_state(made, tmp_path, made.statistics.to_plain())
    saved, config = everything(made), override(made.config, {"batch_size": 16})
    step(made)
    made.nimg, made.step, made.seconds, made.tracking_seconds, made.num_tracked = 1, 2, 30.0, 4.0, 5
    go_back(made, tmp_path, config)
    assert everything(made) == {**saved, "seconds": 30.0, "tracking_seconds": 4.0, "num_tracked": 5}
    assert made.config is config


def test_before_the_first_step_optimizers_have_nothing(tmp_path: Path) -> None:
    made, other = make_state(), eventful()
    save_state(made, tmp_path, [])
    load_state(other, tmp_path)
    assert not any(other.optimizers["generator"].state[p] for p in other.generator.parameters())


def test_tensors_of_optimizers_are_complete_and_no_more(tmp_path: Path) -> None:
    made = eventful()
    tensors = checkpoint._optimizer_tensors(made)
    name = next(name for name in tensors if ".exp_avg." in name)
    path = tmp_path / "optimizers.safetensors"
    for changed, message in (
        ({key: value for key, value in tensors.items() if key != name}, rf"has no tensor {name}, which Adam needs"),
        ({**tensors, "another": tensors[name]}, r"holds a tensor that the optimizers do not keep \(another\)"),
        ({**tensors, name: tensors[name][:1]}, "holds the optimizer of another network than config.json describes"),
        ({**tensors, name: tensors[name].double()}, "holds the optimizer of another network"),
    ):
        with pytest.raises(RunError, match=rf"optimizers\.safetensors: {message}"):
            checkpoint._load_optimizers(make_state(), changed, path)


def test_what_an_optimizer_keeps_is_found_without_a_step_of_it() -> None:
    weight = nn.Parameter(torch.ones(2))
    for optimizer, kinds in (
        (torch.optim.Adam([weight], lr=0.1, fused=True), {"step", "exp_avg", "exp_avg_sq"}),
        (torch.optim.SGD([weight], lr=0.1, momentum=0.9), {"momentum_buffer"}),
        (torch.optim.SGD([weight], lr=0.1), set()),
    ):
        assert checkpoint._kinds(optimizer) == kinds
        assert not optimizer.state and optimizer.param_groups[0]["params"] == [weight] and weight.tolist() == [1, 1]


# --- filling networks --------------------------------------------------------------------------------------


def test_a_network_is_filled_where_it_is_or_born(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {"weight": torch.full((2, 3), 2.0), "bias": torch.tensor([1.0, 2.0])}
    network = nn.Linear(3, 2)
    place = network.weight.data_ptr()
    load_tensors(network, tensors, tmp_path / "x")
    assert network.weight.data_ptr() == place and network.weight.tolist() == [[2.0] * 3] * 2
    with torch.device("meta"):
        unborn = nn.Linear(3, 2)
    load_tensors(unborn, tensors, tmp_path / "x")
    assert unborn.bias.tolist() == [1.0, 2.0] and unborn.weight.device.type == "cpu"


@pytest.mark.parametrize(
    "change",
    [{"weight": torch.zeros(3, 2)}, {"bias": torch.zeros(2, dtype=torch.float64)}, {"scale": torch.zeros(1)}],
    ids=str,
)
def test_tensors_of_another_network_are_refused(change: dict[str, Tensor], tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    with pytest.raises(RunError, match=r"x: holds the weights of another network than config\.json describes"):
        load_tensors(network, {**network.state_dict(), **change}, tmp_path / "x")


def test_weights_of_a_file(tmp_path: Path) -> None:
    made = eventful()
    save_state(made, tmp_path, [])
    network = made.config.model.generator(SPEC)
    load_weights(network, tmp_path / "generator_ema.safetensors")
    for one, two in zip(network.parameters(), made.generator_ema.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_missing_file_is_damage(tmp_path: Path) -> None:
    with pytest.raises(DamagedCheckpoint, match=r"x: the checkpoint has no generator\.safetensors"):
        checkpoint.part_of({}, "generator", tmp_path / "x")
