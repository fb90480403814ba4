"""The embedded digits."""

from __future__ import annotations

import numpy as np

from gansmith.data.digits import Digits


def test_all_the_scans_are_there_with_their_labels() -> None:
    records = Digits().records()
    assert len(records) == 1797
    assert records.labels is not None and records.labels.dtype == np.int64
    assert np.bincount(records.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert records.class_names == tuple("0123456789")
    assert (Digits().kind, Digits().native_size) == ("digits", (8, 8))


def test_values_from_0_to_16_are_spread_over_all_of_a_byte() -> None:
    records = Digits().records()
    images = np.stack([np.asarray(records.read(index)) for index in range(len(records))])
    assert images.shape == (1797, 8, 8, 1) and images.dtype == np.uint8
    expected = [round(value * 255 / 16) for value in range(17)]
    assert np.unique(images).tolist() == expected
    assert expected[0] == 0 and expected[8] == 128 and expected[16] == 255


def test_a_zero_is_bright_around_a_dark_middle() -> None:
    records = Digits().records()
    assert records.labels is not None and records.labels[0] == 0
    zero = np.asarray(records.read(0))[..., 0]
    assert zero[3:5, 3].max() < 64 < zero[1:7, 1:7].mean()


def test_the_fingerprint_is_always_the_same() -> None:
    assert Digits().records().fingerprint == Digits().records().fingerprint
