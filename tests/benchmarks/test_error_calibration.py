# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Fit and measurement of the standard error: edges are edges, and an interval of 90% is fitted as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import error_calibration as benchmark
from monai_stcnnt.networks.nets import build_variant
from tests.benchmarks.test_small_structures import disc

__all__: list[str] = []


def test_edges_are_the_steepest_fifth_of_the_foreground() -> None:
    rows = 100.0 + np.arange(64.0) ** 2  # ever steeper; above a tenth of the largest from row 18 on
    found = benchmark.places_of(np.broadcast_to(rows[:, None], (2, 64, 30)))
    assert (found == found[0, :, :1]).all()
    assert [int((found[0, :, 0] == place).sum()) for place in range(3)] == [18, 37, 9]
    assert (np.diff(found[0, :, 0]) >= 0)[:-1].all()


def test_nine_tenths_of_the_errors_are_inside_where_it_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the estimates of a network without training, at two SNRs."""
    monkeypatch.setattr(benchmark, "SNRS", (2.0, 10.0))
    monkeypatch.setattr(benchmark, "_STEPS", 300)
    network: Any = build_variant("stcnnt_fast", channels=4)
    scans = [disc(4, 32), disc(2, 32)]
    found = benchmark.fit(network.eval(), scans, "complex")
    with torch.inference_mode():
        drawn = [one for n, scan in enumerate(scans) for snr in (2.0, 10.0)
                 for one in benchmark.samples(network, scan, "complex", snr, n)]  # fmt: skip
    clues, errors = (torch.cat([one[k] for one in drawn]) for k in (0, 1))
    inside = (errors <= benchmark.LARGEST * torch.exp(found.of_clues(clues))).float().mean()
    assert float(inside) == pytest.approx(0.9, abs=0.05)


def test_filtered_magnitudes_are_white_again_where_they_are_fitted() -> None:
    """Their noise has the level of the map, and what the network should give is their mean."""
    image, truth = benchmark.image_and_truth(disc(4, 48), "real", 8.0, 3)
    assert image.shape[1] == 2
    assert truth.shape == image[:, :1].shape
    error = (image[:, :1] - truth)[truth > 6] / image[:, 1:][truth > 6]
    assert float(error.std()) == pytest.approx(1, abs=0.2)


def test_shares_of_held_out_scans_become_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the calibration of the bundle, on a small part of nibabel's scan."""
    monkeypatch.setattr(benchmark, "SNRS", (5.0,))
    page = tmp_path / "page.md"
    page.write_text("<!-- calibration -->\n<!-- /calibration -->\n")
    shares = benchmark.main(["--variants", "fast", "--size", "2", "32", "32", "1", "--page", str(page)])
    assert {(share.kind, share.place) for share in shares} == {
        (kind, place) for kind in ("complex", "magnitude") for place in ("edges", "elsewhere")
    }
    assert all(0.7 < share.inside <= 1 for share in shares)
    assert page.read_text().count("| fast, ") == 4
