# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Rules of a DICOM node, and the places that results go to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from monai_stcnnt.errors import MissingFileError, OptionError, UnreadableFileError
from monai_stcnnt.services.dicom.rules import DEFAULT_RULES, choose_rule, read_rules
from monai_stcnnt.services.dicom.targets import DicomTarget, WebTarget, target_from
from tests.services.dicom.peers import scan

__all__: list[str] = []

TEXT = """
rules:
  - name: hearts
    match: {SeriesDescription: ["*cine*", "*sax*"], Modality: MR}
    do: segment
  - match: {ImageType: 'ORIGINAL*'}
    do: denoise
    options: {strength: 0.8}
"""


def header(**values: object) -> Dataset:
    found = Dataset()
    for name, value in values.items():
        setattr(found, name, value)
    return found


def test_the_first_rule_that_fits_counts(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(TEXT)
    rules = read_rules(tmp_path / "rules.yaml")
    kinds = {
        "hearts": header(Modality="MR", SeriesDescription="CINE short axis", ImageType=["ORIGINAL", "PRIMARY"]),
        "denoise": header(Modality="MR", SeriesDescription="T1", ImageType=["ORIGINAL", "PRIMARY", "M"]),
        None: header(Modality="MR", SeriesDescription="T1"),
    }
    for name, one in kinds.items():
        rule = choose_rule(rules, one)
        assert (None if rule is None else rule.name) == name
    assert rules[1].options == {"strength": 0.8}


def test_derived_series_are_left_alone_without_rules() -> None:
    actions = [
        choose_rule(DEFAULT_RULES, header(Modality=modality, ImageType=[kind, "PRIMARY"]))
        for modality, kind in (("MR", "ORIGINAL"), ("MR", "DERIVED"), ("CT", "ORIGINAL"))
    ]
    assert [None if rule is None else rule.action for rule in actions] == ["denoise", "ignore", None]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[", UnreadableFileError),
        ("rules: []", OptionError),
        ("others: 1", OptionError),
        ("rules: [{do: paint}]", OptionError),
        ("rules: [{do: denoise, when: now}]", OptionError),
        ("rules: [{do: denoise, match: {NoKeyword: x}}]", OptionError),
        ("rules: [{do: denoise, options: {speed: 2}}]", OptionError),
        ("rules: [{do: denoise, match: 3}]", OptionError),
        ("rules: [{do: denoise, options: {strength: -1}}]", OptionError),
        ("rules: [{do: denoise, options: {strength: much}}]", OptionError),
    ],
)
def test_wrong_rules_are_one_sentence(text: str, error: type[Exception], tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    with pytest.raises(error, match=r"rules\.yaml"):
        read_rules(file)


def test_rules_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        read_rules(tmp_path / "rules.yaml")


def test_targets_are_told_by_their_names() -> None:
    target = target_from("archive.example:104:PACS", "ME")
    assert isinstance(target, DicomTarget)
    assert (target.host, target.port, target.title, target.own_title) == ("archive.example", 104, "PACS", "ME")
    six = target_from("[::1]:104:PACS")
    assert isinstance(six, DicomTarget)
    assert six.host == "::1"
    assert isinstance(target_from("https://archive.example/dicom-web/"), WebTarget)


@pytest.mark.parametrize(
    "text", ["", "host", "host:0:A", "host:port:A", "host:104:", "host:104:ATITLETHATISTOOLONG", "ftp://a"]
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="target"):
        target_from(text)


def test_a_web_archive_gets_every_image_once(tmp_path: Path) -> None:
    requests: list[int] = []

    class Client:
        def __init__(self, url: str) -> None:
            assert url == "http://archive.example/dicom-web"

        def store_instances(self, images: list[Any]) -> Dataset:
            requests.append(len(images))
            answer = Dataset()
            if len(requests) == 2:
                answer.FailedSOPSequence = [Dataset()]
            return answer

    files = scan(tmp_path, frames=20)
    arrived: list[Path] = []
    target = WebTarget("http://archive.example/dicom-web", Client)
    with pytest.raises(ConnectionError, match="did not take 1"):
        target.send(files, arrived.append)
    assert arrived == files[:16]
    target.send(files[16:], arrived.append)
    assert arrived == files
    assert all(isinstance(pydicom.dcmread(file), Dataset) for file in files)
