# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""What the command line says while it works and when it ends, also when it is interrupted or nobody listens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from torch._dynamo.exc import TorchDynamoException

from monai_stcnnt.apps import denoising
from monai_stcnnt.apps.cli.app import main
from monai_stcnnt.errors import OptionError
from tests.apps.batches import write_nifti
from tests.apps.dicom_files import moving_disc, write_series

__all__: list[str] = []


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["stcnnt", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_a_folder_has_a_line_for_each_series_and_no_bar_where_it_is_piped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write_nifti(tmp_path / "scans" / f"{name}.nii")
    (tmp_path / "scans" / "c.nii").write_bytes(b"bad")
    command = ("denoise", tmp_path / "scans", tmp_path / "out", "--noise-sigma", 20)
    assert call(monkeypatch, *command) == 3
    said = capsys.readouterr().err
    assert re.search(r"^1 of 3, a\.nii: done in [\d.]+ s$", said, re.MULTILINE)
    assert re.search(r"^3 of 3, c\.nii: UnreadableFileError: ", said, re.MULTILINE)
    assert not re.search(r"\r|it/s|%\||\.unfinished|process 0", said)
    assert call(monkeypatch, *command) == 3
    said = capsys.readouterr().err
    assert re.search(r"^a\.nii +skipped", said, re.MULTILINE)
    assert "1 of 1, c.nii" in said


def test_a_row_of_the_table_is_one_line_where_it_is_piped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a" * 60, "b" * 60):
        write_nifti(tmp_path / "scans" / f"{name}.nii")
    assert call(monkeypatch, "denoise", tmp_path / "scans", tmp_path / "out", "--noise-sigma", 20) == 0
    assert len(re.findall(r"^(?:a|b){60}\.nii +done +20 .* no", capsys.readouterr().err, re.MULTILINE)) == 2


def test_an_interruption_says_how_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(denoising.Denoiser, "run", interrupted)
    assert call(monkeypatch, "denoise", write_nifti(tmp_path / "a.nii"), tmp_path / "out") == 130
    assert "The same command resumes" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_wrong_with_one_series_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.nii").write_bytes(b"bad")
    assert call(monkeypatch, "denoise", tmp_path / "a.nii", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.startswith("stcnnt: ")
    assert len(said.splitlines()) == 1


def test_a_remark_about_a_file_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        image = nib.Nifti1Image(moving_disc(2, 1, 16).transpose(3, 2, 1, 0).astype(np.float32), np.eye(4))
        (tmp_path / "scans").mkdir(exist_ok=True)
        nib.save(image, tmp_path / "scans" / f"{name}.nii")
    assert call(monkeypatch, "denoise", tmp_path / "scans", tmp_path / "out", "--noise-sigma", 20) == 0
    assert capsys.readouterr().err.count("has no unit of time") == 2


def test_segment_draws_no_bar_where_it_is_piped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "segment", write_nifti(tmp_path / "a.nii", frames=3), tmp_path / "out") == 0
    assert not re.search(r"\r|it/s|%\|", capsys.readouterr().err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device")
def test_a_full_standard_output_ends_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monai_stcnnt.apps.cli.app", "info", str(write_nifti(tmp_path / "a.nii"))]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_compile_without_a_compiler_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(OptionError, match=r"C\+\+ compiler"):
        denoising.denoise(write_nifti(tmp_path / "a.nii"), tmp_path / "out", compile=True, device="cpu")


def test_a_compiler_that_does_not_work_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise TorchDynamoException("No working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1 for more")

    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr("torch.compile", lambda _: broken)
    scan = write_nifti(tmp_path / "a.nii")
    assert call(monkeypatch, "denoise", scan, tmp_path / "out", "--compile", "--device", "cpu") == 2
    said = capsys.readouterr().err
    assert said == "stcnnt: PyTorch cannot compile here (No working C++ compiler found). Leave compile out.\n"


def test_what_a_folder_holds_is_told_without_waiting_for_torch_and_monai(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii")
    write_series(tmp_path / "dicom", moving_disc(2, 2, 16))
    write_series(tmp_path / "pair", moving_disc(1, 2, 16), 1)
    write_series(tmp_path / "pair", moving_disc(1, 2, 16) * 2 + 500, 2, "P", (1, -2048))
    code = (
        "import sys; from monai_stcnnt.apps.cli.app import main\n"
        f"sys.argv = ['stcnnt', 'info', {str(tmp_path)!r}]\n"
        "try: main()\n"
        "finally: sys.stderr.write(' '.join({'torch', 'monai', 'matplotlib', 'scipy.ndimage'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "series 1+2" in done.stdout
