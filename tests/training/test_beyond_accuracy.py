"""Measures of whole sets of lists, against hand-computed ones."""

import numpy as np
import pytest

from training.beyond_accuracy import Catalogue, ListProfile, gini
from training.foretold import expected_calibration_error


def catalogue(attributes: np.ndarray) -> Catalogue:
    return Catalogue(
        ranked=np.arange(4, dtype=np.int32),
        owners=np.array([7, 3, 0, 0]),
        users=7,
        attributes=attributes,
    )


def test_two_lists_of_two_of_four_items():
    codes = np.array([[1, 1], [1, 2], [2, 2], [2, 2]], dtype=np.int32)
    profile = ListProfile(catalogue(codes), k=2)
    profile.add(np.array([0, 1, 3], dtype=np.int32))
    profile.add(np.array([0, 2], dtype=np.int32))
    found = profile.summary()
    assert found["coverage"] == 3 / 4
    assert found["gini"] == pytest.approx(gini(np.array([2, 1, 1, 0])))
    # shares (7 + 1) / 8 = 1, (3 + 1) / 8 = 1/2 and 1/8
    assert found["novelty"] == pytest.approx(np.mean([np.mean([0, 1]), np.mean([0, 3])]))
    # 0 and 1 differ in one of two attributes, 0 and 2 in both
    assert found["diversity"] == pytest.approx(np.mean([0.5, 1.0]))


def test_items_without_attributes_have_no_diversity():
    profile = ListProfile(catalogue(np.zeros((4, 0), dtype=np.int32)), k=2)
    profile.add(np.array([0, 1], dtype=np.int32))
    assert profile.summary()["diversity"] is None


def test_calibration_error_of_two_bins():
    predicted = np.array([0.1, 0.1, 0.6, 0.6])
    labels = np.array([False, False, True, False])
    assert expected_calibration_error(predicted, labels, bins=2) == pytest.approx(0.1)


def test_a_constant_share_is_calibrated_over_all():
    rng = np.random.default_rng(1)
    labels = rng.random(40_000) < 0.05
    assert expected_calibration_error(np.full(40_000, 0.05), labels) < 0.01
    off = expected_calibration_error(np.full(40_000, 0.08), labels)
    assert off == pytest.approx(0.03, abs=4e-3)


def test_the_order_of_equal_predictions_does_not_matter():
    predicted, actual = np.full(2000, 0.5), np.arange(2000) < 1000
    assert expected_calibration_error(predicted, actual, bins=20) < 0.06
    assert expected_calibration_error(predicted, np.ones(2000, bool), bins=20) == 0.5
