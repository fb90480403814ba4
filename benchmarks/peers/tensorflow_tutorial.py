"""The DCGAN of TensorFlow's tutorial, in TensorFlow: 28-pixel digits, batches of 256, 50 epochs, Adam 1e-4.

    benchmarks/peers/.venv/bin/python benchmarks/peers/tensorflow_tutorial.py path/to/mnist --out runs/tutorial
    benchmarks/peers/.venv/bin/python benchmarks/peers/tensorflow_tutorial.py --speed 20

Trains like the tutorial: both networks at once in one compiled step, 60,000 images shuffled each epoch, no weight
averaging. The clock runs during training only, not while the step is compiled or samples are made. At the requested
times and at the end it writes 10,000 images of the same noise: SECONDS.npz with uint8 "images" [n h w c], an input of
`gansmith evaluate FILE.npz --against mnist`. moments.json describes each file. With --speed it only measures the step,
on noise. Its environment: see README.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from rounds import peak_memory_mib, serve, timed

BATCH, LATENT, EPOCHS, LEARNING_RATE = 256, 100, 50, 1e-4
SAMPLES, SAMPLES_AT_ONCE = 10_000, 500
MOMENTS = (5, 10, 20, 40, 80, 160, 320, 600, 1200, 2400)


def main() -> None:
    """Train, or measure the step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mnist", type=Path, nargs="?", help="folder with train-images-idx3-ubyte, plain or .gz")
    parser.add_argument("--out", type=Path, default=Path("tutorial"), help="folder for the samples")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of training, at most")
    parser.add_argument("--seconds", type=float, default=math.inf, help="of training, at most")
    parser.add_argument("--moments", type=float, nargs="*", default=MOMENTS, help="seconds after which to sample")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="images each time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="default: as TensorFlow chooses")
    parser.add_argument("--speed", type=float, metavar="SECONDS", help="only measure the step for so long")
    parser.add_argument("--serve", action="store_true", help="likewise, whenever a line on stdin says for how long")
    options = parser.parse_args()
    if not (options.mnist or options.speed or options.serve):
        parser.error("name the folder of MNIST, or measure with --speed")
    tutorial = Tutorial(options.seed, options.threads)
    if options.serve:
        serve(tutorial.measurement(), tensorflow=tutorial.version)
    elif options.speed:
        print(json.dumps(tutorial.measurement()(options.speed)))
    else:
        train(tutorial, digits(options.mnist), options)


def train(tutorial: Tutorial, images: Any, options: argparse.Namespace) -> None:
    """Run the whole training, and write samples at the requested times."""
    options.out.mkdir(parents=True, exist_ok=True)
    moments: list[dict[str, Any]] = []
    due = sorted(moment for moment in options.moments if moment < options.seconds)
    seconds, seen, epoch = 0.0, 0, 0

    def write_samples(*, finished: bool = False) -> None:
        path = options.out / f"{seconds:07.1f}.npz"
        np.savez_compressed(path, images=tutorial.samples(options.samples))
        speed = seen / seconds
        moments.append({"seconds": round(seconds, 2), "images": seen, "epoch": epoch, "file": path.name})
        about = {"tensorflow": tutorial.version, "seed": options.seed, "samples": options.samples}
        about |= {"images_per_second": round(speed, 1), "peak_memory_mib": peak_memory_mib(), "finished": finished}
        (options.out / "moments.json").write_text(json.dumps({**about, "moments": moments}, indent=2) + "\n")
        print(f"epoch {epoch}, {seconds:.1f} s, {seen:,} images, {speed:.0f} images/s: {path}", flush=True)

    tutorial.compile(sizes={BATCH, len(images) % BATCH} - {0})
    stream = ((epoch, batch) for epoch in range(options.epochs) for batch in tutorial.batches(images))
    for epoch, batch in stream:  # noqa: B007
        began = time.perf_counter()
        tutorial.step(batch)
        seconds += time.perf_counter() - began
        seen += len(batch)
        if seconds >= options.seconds:
            break
        if due and seconds >= due[0]:
            due = [moment for moment in due if moment > seconds]
            write_samples()
    write_samples(finished=True)


class Tutorial:
    """The networks, their optimizers and the compiled step."""

    def __init__(self, seed: int, threads: int | None) -> None:
        import keras
        import tensorflow as tf

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        keras.utils.set_random_seed(seed)
        self.tf, self.version = tf, tf.__version__
        self.generator, self.discriminator = generator_network(keras), discriminator_network(keras)
        self.step = self._step(keras)

    def _step(self, keras: Any) -> Any:
        tf, generator, discriminator = self.tf, self.generator, self.discriminator
        entropy = keras.losses.BinaryCrossentropy(from_logits=True)
        generator_adam, discriminator_adam = keras.optimizers.Adam(LEARNING_RATE), keras.optimizers.Adam(LEARNING_RATE)
        generator_adam.build(generator.trainable_variables)
        discriminator_adam.build(discriminator.trainable_variables)

        @tf.function
        def step(images: Any) -> None:
            z = tf.random.normal([BATCH, LATENT])
            with tf.GradientTape() as generator_tape, tf.GradientTape() as discriminator_tape:
                fake = generator(z, training=True)
                real_logits = discriminator(images, training=True)
                fake_logits = discriminator(fake, training=True)
                generator_loss = entropy(tf.ones_like(fake_logits), fake_logits)
                discriminator_loss = entropy(tf.ones_like(real_logits), real_logits)
                discriminator_loss += entropy(tf.zeros_like(fake_logits), fake_logits)
            for loss, tape, network, adam in (
                (generator_loss, generator_tape, generator, generator_adam),
                (discriminator_loss, discriminator_tape, discriminator, discriminator_adam),
            ):
                weights = network.trainable_variables
                adam.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

        return step

    def compile(self, sizes: set[int]) -> None:
        """Build the step's graphs without running them."""
        for size in sizes:
            self.step.get_concrete_function(self.tf.TensorSpec([size, 28, 28, 1], self.tf.float32))

    def batches(self, images: Any) -> Iterator[Any]:
        """Yield one epoch in a new order; the last batch is smaller."""
        data = self.tf.data.Dataset.from_tensor_slices(images).shuffle(len(images)).batch(BATCH)
        return iter(data)

    def samples(self, num: int) -> Any:
        """Return images of the same noise each time, uint8 [num 28 28 1]."""
        noise = np.random.default_rng(0).standard_normal((num, LATENT), np.float32)
        made = [self.generator(noise[i : i + SAMPLES_AT_ONCE], training=False) for i in range(0, num, SAMPLES_AT_ONCE)]
        return np.rint(np.concatenate(made) * 127.5 + 127.5).clip(0, 255).astype(np.uint8)

    def measurement(self) -> Callable[[float], dict[str, Any]]:
        """Return the measurement of the step's speed, on noise, after warm-up."""
        images = self.tf.random.uniform([BATCH, 28, 28, 1], -1, 1)
        for _ in range(3):
            self.step(images)
        return timed(lambda: self.step(images), BATCH)


def generator_network(keras: Any) -> Any:
    """Return the generator: a dense layer to 7x7, one plain stage, two that double the size."""
    layers = keras.layers
    enlarge: dict[str, Any] = {"kernel_size": 5, "padding": "same", "use_bias": False}
    network = [keras.Input((LATENT,)), layers.Dense(7 * 7 * 256, use_bias=False)]
    network += [layers.BatchNormalization(), layers.LeakyReLU(), layers.Reshape((7, 7, 256))]
    for channels, stride in ((128, 1), (64, 2)):
        network += [layers.Conv2DTranspose(channels, strides=stride, **enlarge)]
        network += [layers.BatchNormalization(), layers.LeakyReLU()]
    return keras.Sequential([*network, layers.Conv2DTranspose(1, strides=2, activation="tanh", **enlarge)])


def discriminator_network(keras: Any) -> Any:
    """Return the discriminator: two stages that halve the size, with dropout, and a dense layer to one logit."""
    layers = keras.layers
    network = [keras.Input((28, 28, 1))]
    for channels in (64, 128):
        network += [layers.Conv2D(channels, 5, strides=2, padding="same"), layers.LeakyReLU(), layers.Dropout(0.3)]
    return keras.Sequential([*network, layers.Flatten(), layers.Dense(1)])


def digits(folder: Path) -> Any:
    """Return MNIST's training images, float32 [60000 28 28 1] in [-1, 1]."""
    plain, packed = folder / "train-images-idx3-ubyte", folder / "train-images-idx3-ubyte.gz"
    if not (plain.exists() or packed.exists()):
        raise SystemExit(f"{folder}: holds neither {plain.name} nor {packed.name}")
    content = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return (pixels.astype(np.float32) - 127.5) / 127.5


if __name__ == "__main__":
    main()
