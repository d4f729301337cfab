# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The measurement of segmentations: perfect masks score 1 and 0 mm, absent classes do not count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer

from benchmarks import segmentation_quality as benchmark
from monai_stcnnt.apps.bundles import bundle_folder
from monai_stcnnt.data import labelled_datalist
from tools import prepare_segmentation_data as prepare

__all__: list[str] = []

# MONAI's own use of an argument that it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")


class Shifted(torch.nn.Module):
    """Logits of the labels that the image holds, moved by some columns."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        labels = torch.roll(x[:, 0].long(), self.columns, -1)
        return torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()


def item() -> dict[str, torch.Tensor]:
    label = torch.zeros(1, 1, 3, 16, 16)
    label[..., 2:10, 2:8], label[..., 2:10, 8:12] = 1, 3
    known = label.clone()
    known[:, :, 1] = -1
    return {"image": label, "label": known}


def test_perfect_masks_and_shifted_ones() -> None:
    scores = benchmark.frame_scores(Shifted(0), iter([(item(), (1.5, 2.0))]), SimpleInferer())
    assert scores["dice"].shape == (2, 3)
    np.testing.assert_allclose(scores["dice"][:, [0, 2]], 1)
    np.testing.assert_allclose(scores["hd95"][:, [0, 2]], 0)
    assert np.isnan(scores["dice"][:, 1]).all()
    moved = benchmark.frame_scores(Shifted(1), iter([(item(), (1.5, 2.0))]), SimpleInferer())
    np.testing.assert_allclose(moved["dice"][:, 0], 5 / 6)
    np.testing.assert_allclose(moved["hd95"][:, 0], 2.0)


def test_the_largest_component_is_kept() -> None:
    masks = torch.zeros(1, 3, 8, 8)
    masks[0, 1, :3, :3], masks[0, 1, 6, 6] = 1, 1
    masks[0, 0] = 1 - masks[0, 1]
    kept = benchmark.largest_components(masks)
    assert kept[0, 1].sum() == 9
    torch.testing.assert_close(kept.sum(1), torch.ones(1, 8, 8))


def test_patients_are_written_in_the_layout_that_is_read(tmp_path: Path) -> None:
    prepare.write_phantoms(tmp_path, range(1))
    (row,) = labelled_datalist(tmp_path)
    assert row["frames"] == list(range(prepare.PHANTOM_SIZE[0]))
    info = (tmp_path / "patient500" / "Info.cfg").read_text()
    assert "ED: 1" in info
    labels = prepare.phantom_arrays(0)[1]
    assert set(np.unique(labels)) == {0, 1, 2, 3}


def test_tissues_of_freesurfer_labels() -> None:
    np.testing.assert_array_equal(prepare.tissue_of_aseg(np.array([0, 4, 3, 2, 42, 41, 62])), [0, 1, 2, 3, 2, 3, 0])


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare.write_phantoms(tmp_path / "data", range(200, 201))
    weights = bundle_folder("cine_segmentation") / "models" / "model_hrnetv2.pt"
    arguments = ["--data", str(tmp_path / "data"), "--networks", f"hrnetv2={weights}"]
    results = benchmark.main([*arguments, "--output", str(tmp_path / "scores.json")])
    assert "| hrnetv2 |" in capsys.readouterr().out
    kept = json.loads((tmp_path / "scores.json").read_text())
    np.testing.assert_allclose(kept["hrnetv2"]["dice"], results["hrnetv2"]["dice"])
    assert results["hrnetv2"]["dice"].shape == (12, 3)
