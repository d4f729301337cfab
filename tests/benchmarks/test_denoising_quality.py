# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The measurement of denoising quality: fair noise, tuned filters, honest tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import denoising_quality as benchmark
from benchmarks import held_out
from benchmarks.compared_denoisers import COMPARED, ResidualDenoiser, compared_config
from benchmarks.denoising_quality import Candidate, Method
from benchmarks.quality_cases import Case, Kind, from_stacks, make_case, to_stacks
from benchmarks.quality_report import Row, readme_part, tables, write_readme
from monai_stcnnt.apps.review.quality import add_series_noise
from monai_stcnnt.data import SeriesRecord, read_series, write_nifti

__all__: list[str] = []


def moving_disk(frames: int = 4, slices: int = 1, size: int = 24) -> SeriesRecord:
    """A bright disk in air that moves over frames (or depth)."""
    t, z, y, x = np.ogrid[:frames, :slices, :size, :size]
    array = 100.0 * ((y - size / 2) ** 2 + (x - size / 2 - t - z) ** 2 < (size / 4) ** 2) + 5
    return SeriesRecord(array[None], np.eye(4), np.arange(float(frames)), {"file_ndim": 4, "units": ("mm", "sec")})


@pytest.fixture(params=["complex", "magnitude"])
def case(request: pytest.FixtureRequest) -> Case:
    return make_case("disk", moving_disk(), 3.0, 0, request.param)


@pytest.mark.parametrize("shape", [(2, 4, 3, 5, 6), (1, 1, 3, 5, 6), (2, 1, 1, 5, 6), (1, 4, 1, 5, 6)])
def test_stacks_go_back(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random(shape)
    stacks = to_stacks(array)
    assert stacks.shape[1:3] == (shape[0], shape[1] if shape[1] > 1 else shape[2])
    np.testing.assert_array_equal(from_stacks(stacks, shape), array)


def test_noise_is_in_snr_units_and_the_same_for_both_kinds() -> None:
    series = moving_disk(frames=8, size=40)
    both = [make_case("disk", series, 3.0, 0, kind) for kind in ("complex", "magnitude")]
    noise = both[0].noisy.array - both[0].truth.array
    assert noise.std(axis=(1, 2, 3, 4)) == pytest.approx([1, 1], rel=0.03)
    for name in ("truth", "noisy"):
        magnitudes = [getattr(one, name).magnitude for one in both]
        np.testing.assert_allclose(magnitudes[0], magnitudes[1], rtol=1e-5)


@pytest.mark.parametrize("name", ["gaussian_2d", "gaussian_3d", "tv_2d", "tv_3d"])
def test_tuned_filter_beats_the_noisy_image(case: Case, name: str) -> None:
    noisy = benchmark.evaluate(case, benchmark.METHODS["noisy"])
    row = benchmark.evaluate(case, benchmark.METHODS[name])
    assert noisy is not None
    assert row is not None
    assert row.psnr > noisy.psnr + 1
    assert row.ssim > noisy.ssim


@pytest.mark.parametrize("name", ["gaussian_2d", "tv_2d"])
def test_filter_of_frames_leaves_frames_apart(case: Case, name: str) -> None:
    """A change of one frame changes no other."""
    other = np.array(case.noisy.array)
    other[:, 0] += 3
    changed = Case(case.series, case.snr, case.seed, case.kind, case.truth, case.noisy.with_array(other))
    results = [next(benchmark.METHODS[name].results(one))[1].array for one in (case, changed)]
    np.testing.assert_array_equal(results[0][:, 1:], results[1][:, 1:])
    assert not np.array_equal(results[0][:, 0], results[1][:, 0])


def test_magnitudes_are_also_corrected_for_their_bias(case: Case) -> None:
    names = [name for name, _ in benchmark.gaussian_2d(case)]
    assert any("bias corrected" in name for name in names) == (case.kind == "magnitude")


def test_best_figures_are_kept_each_with_its_parameters() -> None:
    case = make_case("disk", moving_disk(), 3.0, 0, "magnitude")

    def results(case: Case) -> Iterator[Candidate]:
        yield "broken", case.noisy.with_array(case.noisy.array * np.nan)
        yield "worse", case.noisy
        yield "best", case.truth
        yield "bad", case.noisy.with_array(case.noisy.array * 3)

    row = benchmark.evaluate(case, Method("some", results))
    assert row is not None
    assert (row.psnr, row.ssim, row.psnr_parameters, row.ssim_parameters) == (np.inf, 1.0, "best", "best")


def test_a_case_that_a_method_is_not_made_for_gives_no_row() -> None:
    case = make_case("disk", moving_disk(), 3.0, 0, "magnitude")
    assert benchmark.evaluate(case, Method("some", lambda _: iter(()))) is None


@pytest.mark.parametrize("ensemble", [False, True])
def test_network_gets_the_case_through_files(case: Case, monkeypatch: pytest.MonkeyPatch, ensemble: bool) -> None:
    calls = {}

    def stand_in(path: Path, output: Path, **options: object) -> list[Path]:
        calls.update(options)
        return [write_nifti(read_series(path), output)]

    monkeypatch.setattr(benchmark, "denoise", stand_in)
    [(_, result)] = list(benchmark.bundle_network(case, device="cpu", self_ensemble=ensemble))
    np.testing.assert_allclose(result.array, case.noisy.array, rtol=1e-5)
    assert calls["noise_sigma"] == 1.0
    assert calls["device"] == "cpu"
    assert calls["self_ensemble"] == ensemble


@pytest.mark.parametrize(
    ("shape", "size", "expected"),
    [
        ((1, 9, 5, 30, 40), (4, 16, 20, 2), (1, 4, 2, 16, 20)),
        ((1, 1, 9, 30, 40), (4, 16, 20, 2), (1, 1, 4, 16, 20)),
        ((1, 2, 1, 8, 9), (4, 16, 20, 2), (1, 2, 1, 8, 9)),
    ],
)
def test_crop_has_the_size(shape: tuple[int, ...], size: tuple[int, ...], expected: tuple[int, ...]) -> None:
    series = SeriesRecord(np.ones(shape), np.eye(4), np.arange(float(shape[1])))
    assert held_out.crop_series(series, size).array.shape == expected


def test_crop_holds_the_signal() -> None:
    array = np.zeros((1, 1, 1, 60, 60))
    array[..., 40:50, 5:15] = 1
    assert held_out.crop_series(SeriesRecord(array, np.eye(4), np.zeros(1)), (4, 20, 20, 1)).array.sum() == 100


@pytest.fixture
def row() -> Callable[..., Row]:
    def make(series: str, method: str, psnr: float, kind: Kind = "complex") -> Row:
        return Row(series, 2.0, 0, kind, method, psnr, psnr / 100, "", "", 0.1)

    return make


def test_tables_hold_means_and_every_scan(row: Callable[..., Row]) -> None:
    text = tables([row("a", "noisy", 10), row("a", "ours", 20), row("b", "noisy", 30), row("b", "ours", 28)])
    assert "## Complex images" in text
    assert "### Mean over 2 scans" in text
    assert "| noisy | 20.00 / 0.200 |" in text
    assert "| ours | **24.00** / **0.240** |" in text
    assert "| noisy | **30.00** / **0.300** |" in text


def test_program_prints_tables_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "files", lambda _: tmp_path)
    (tmp_path / "tests" / "data").mkdir(parents=True)
    write_nifti(moving_disk(), tmp_path / "tests" / "data" / "example4d.nii.gz")
    output = tmp_path / "result.json"
    rows = benchmark.main(
        ["--quick", "--snr", "3", "--methods", "noisy", "gaussian_2d", "--kinds", "magnitude", "--output", str(output)]
    )
    assert [r.method for r in rows] == ["noisy", "Gaussian 2D, tuned"]
    stored = json.loads(output.read_text(encoding="utf-8"))
    assert [r["psnr"] for r in stored["rows"]] == [r.psnr for r in rows]
    assert f"{rows[1].psnr:.2f}" in capsys.readouterr().out

    readme, picture = tmp_path / "README.md", tmp_path / "picture.png"
    readme.write_text("a\n<!-- performance -->\nold\n<!-- /performance -->\nb\n", encoding="utf-8")
    more = ["--quick", "--snr", "3", "--methods", "noisy", "--kinds", "magnitude", "--keep", str(output)]
    together = benchmark.main([*more, "--output", str(output), "--readme", str(readme), "--picture", str(picture)])
    assert {r.method for r in together} == {r.method for r in rows}
    assert len(together) == 2
    text = readme.read_text(encoding="utf-8")
    assert text.startswith("a\n<!-- performance -->\nPSNR")
    assert text.endswith("<!-- /performance -->\nb\n")
    assert f"{rows[1].psnr:.1f}" in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_readme_names_the_best_and_leaves_out_means_of_some_scans(row: Callable[..., Row], tmp_path: Path) -> None:
    rows = [row("a", "mri_denoising bundle", 25), row("a", "noisy", 10), row("b", "noisy", 30)]
    rows += [row("b", "mri_denoising bundle", 20), row("a", "some", 99)]
    assert readme_part(rows).splitlines()[-3:] == [
        "| noisy | 20.0 |",
        "| mri_denoising bundle | **22.5** |",
        "| mri_denoising bundle, gain over some, 1 scans | -74.0 |",
    ]
    (tmp_path / "README.md").write_text("nothing marked", encoding="utf-8")
    with pytest.raises(ValueError, match="marks"):
        write_readme(tmp_path / "README.md", rows)


def test_the_documentation_has_means_of_all_and_of_some_scans_and_gains(
    row: Callable[..., Row], tmp_path: Path
) -> None:
    rows = [row("a", "mri_denoising bundle", 25), row("a", "BM4D, tuned", 22), row("b", "BM4D, tuned", 21)]
    rows += [row("b", "mri_denoising bundle", 20), row("a", "some", 24)]
    path = tmp_path / "quality.md"
    path.write_text("<!-- quality -->\n<!-- /quality -->\n<!-- scans -->\n<!-- /scans -->\n", encoding="utf-8")
    write_readme(path, rows)
    quality, scans = path.read_text(encoding="utf-8").split("<!-- /quality -->")
    everywhere, rest = quality.split("mean over a:")
    assert "| mri_denoising bundle | **22.50** / **0.225** |" in everywhere
    assert "some" not in everywhere
    assert "| some | 24.00 / 0.240 |" in rest
    assert "| mri_denoising bundle | **25.00** / **0.250** |" in rest
    gains = [line for line in rest.splitlines() if "+" in line or "-1" in line]
    assert gains == ["| a | +3.00 |", "| b | -1.00 |", "| mean | +1.00 |"]
    assert scans.strip().removeprefix("<!-- scans -->").startswith("\n## Complex images\n\n### Mean over 2 scans")


@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("mode", ["complex", "magnitude"])
def test_networks_of_monai_are_built_by_their_config(name: str, mode: Kind, tmp_path: Path) -> None:
    parser = compared_config(name, mode)
    network = parser.get_parsed_content("network_def")
    assert isinstance(network, ResidualDenoiser)
    weights = tmp_path / "weights.pt"
    torch.save(network.state_dict(), weights)
    case = make_case("disk", moving_disk(), 3.0, 0, mode)
    [method] = benchmark.trained_methods([f"{mode}/{name}={weights}"])
    [(_, result)] = method.results(case)
    assert result.array.shape == case.noisy.array.shape
    assert method.kinds == (mode,)


@pytest.mark.parametrize("entry", ["dynunet=a.pt", "real/dynunet=a.pt", "complex/unet=a.pt", "complex/dynunet"])
def test_an_entry_that_names_no_network_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="KIND/NAME=WEIGHTS"):
        benchmark.trained_methods([entry])


def test_a_network_that_predicts_no_noise_changes_nothing() -> None:
    x = torch.randn(1, 3, 3, 5, 7)
    network = ResidualDenoiser(torch.nn.Conv3d(3, 2, 1), (4, 4, 4))
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(network(x), x[:, :2])


def test_noise_is_that_of_the_package() -> None:
    series = moving_disk()
    added = add_series_noise(series, 3.0, seed=4)
    case = make_case("disk", series, 3.0, 4, "complex")
    np.testing.assert_allclose(case.noisy.array * added.sigma, added.noisy.array, rtol=1e-4, atol=1e-3)


def test_repeats_are_two_series_of_one_image_and_the_truth_is_the_mean_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs of frames go to one and the other in turns; what is over is left out."""
    frames = np.arange(1, 11, dtype=np.float32)[None, :, None, None, None] * np.ones((1, 10, 1, 6, 6), np.float32)
    write_nifti(SeriesRecord(frames, np.eye(4), np.arange(10.0)), tmp_path / "a.nii.gz")
    monkeypatch.setattr(held_out, "REPEATED", {"a": "a.nii.gz"})
    [(name, given, others)] = held_out.repeated_scans(tmp_path, None)
    assert (name, given.array[0, :, 0, 0, 0].tolist()) == ("a", [1, 2, 5, 6])
    assert others.array[0, :, 0, 0, 0].tolist() == [3, 4, 7, 8]
    case = make_case(name, given, 5.0, 0, "magnitude", others)
    sigma = add_series_noise(given, 5.0, 0).sigma
    np.testing.assert_allclose(case.truth.array, np.full((1, 4, 1, 6, 6), 5.5 / sigma), rtol=1e-5)
    np.testing.assert_array_equal(case.noisy.array, make_case(name, given, 5.0, 0, "magnitude").noisy.array)


def test_drawn_heads_are_the_same_every_time(tmp_path: Path) -> None:
    """Images of the asked size from the label map of validation."""
    labels = np.random.default_rng(0).integers(0, 5, (12, 20, 20)).astype(np.uint8)
    np.savez(tmp_path / "clips.npz", **{"validation/labels/a": labels})  # type: ignore[arg-type]
    first, again = (list(held_out.drawn_heads(tmp_path / "clips.npz", (3, 16, 18, 1), 2)) for _ in range(2))
    assert [(name, series.array.shape) for name, series in first] == [
        (f"drawn head {n}", (1, 3, 1, 16, 18)) for n in (1, 2)
    ]
    np.testing.assert_array_equal(first[1][1].array, again[1][1].array)
