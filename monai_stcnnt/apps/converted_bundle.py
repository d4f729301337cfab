# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""The files of a bundle around a converted denoiser of complex images: pure functions from what is known to text."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["MIT_LICENSE", "Provenance", "converted_inference", "converted_metadata", "converted_readme"]

VERSION = "1.0.0"
OTHER_ENTRIES = (
    "variant", "complex_network_def", "complex_checkpoint", "real_network_def", "real_checkpoint",
)  # fmt: skip
"""Entries of the carried config that choose between networks; a converted bundle has one."""

MIT_LICENSE = """MIT License

Copyright (c) Microsoft Corporation.

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
"""License of the published SNRAware code and weights."""

README = """# MRI denoising with converted SNRAware weights

Authors: the authors of SNRAware [1]; converted by `stcnnt convert` of monai_stcnnt {version}

Tags: denoising, MR, cine, 2D+T, complex, SNR units, transformer, SNRAware

## Model Description

`models/model.pt` is a `monai_stcnnt.networks.nets.STCNNTDenoiser` ({parameters:,} parameters) for complex images: real
part, imaginary part and g-factor map in, real and imaginary part out. All its options are written out under
`network_def` in `configs/inference.json`. It works in SNR units: the image is divided by the noise standard deviation
per real and imaginary component, which the config estimates from the image and logs, or takes as `--noise_sigma`. A
g-factor map is given as `--gmap`.

It was built for windows of {frames} frames, {height} rows and {width} columns, and its normalization may allow no other
size. Larger images are run window by window (`roi_size`), smaller ones are extended by reflection.

## Data

The weights were not trained here, and no data comes with them. Reference [1] describes the data and the training of
the published ones.

## Where the weights come from

| file | SHA-256 |
|---|---|
| `{weights}` | `{weights_digest}` |
| `{config}` | `{config_digest}` |

This folder was made by

```
stcnnt convert {weights} BUNDLE --kind snraware --config {config} --bundle
```

Parameters were renamed, and queries, keys and values joined to one projection; derived buffers (causal masks, position
indices) and parameters without effect were left out. No value was changed.

## Performance

It was not measured here. Reference [1] reports that of the published weights.

## Additional Usage Steps

With this folder as BUNDLE, denoise a folder of complex images, or one file:

```
stcnnt denoise scans denoised --bundle BUNDLE
stcnnt denoise scan.nii.gz denoised.nii.gz --bundle BUNDLE
```

or

```
python -m monai.bundle run --config_file BUNDLE/configs/inference.json --dataset_dir scans --output_dir denoised
python -m monai.bundle run --config_file BUNDLE/configs/inference.json --input_file scan.nii.gz --output_dir denoised
```

## Limitations

Research use only; not for diagnosis. There is a network for complex images only: magnitude images are refused, and the
bundle `mri_denoising` of monai_stcnnt takes them.

## Citation and References

[1] Xue H, Hooper SM, Pierce I, et al. SNRAware: Improved Deep Learning MRI Denoising with SNR Unit Training and
G-factor Map Augmentation. Radiology: Artificial Intelligence, 2025. https://doi.org/10.1148/ryai.250227

[2] Xue H, Hooper SM, Rehman A, et al. Imaging transformer for MRI denoising with the SNR unit training: enabling
generalization across field-strengths, imaging contrasts, and anatomy. 2024.
https://doi.org/10.48550/arXiv.2404.02382

## License

The published SNRAware code and weights (https://github.com/microsoft/SNRAware) are under the MIT license, see LICENSE.
Weights that you trained yourself are yours to license: put your own text in its place.
"""


@dataclass(frozen=True)
class Provenance:
    """Where converted weights come from, without the folders of whoever converted them.

    Attributes:
        weights: name of the file of weights.
        weights_digest: its SHA-256.
        config: name of the configuration that was published with them.
        config_digest: its SHA-256.
        version: of this package.
    """

    weights: str
    weights_digest: str
    config: str
    config_digest: str
    version: str


def converted_inference(carried: Mapping[str, Any], network_def: Mapping[str, Any]) -> dict[str, Any]:
    """Inference config of one network for complex images.

    Args:
        carried: the inference config of the bundle ``mri_denoising``, which routes to several networks.
        network_def: definition of the network, with its ``img_size`` (T, H, W), which becomes the window.

    Returns:
        The config.
    """
    config = {name: copy.deepcopy(entry) for name, entry in carried.items() if name not in OTHER_ENTRIES}
    config["network_def"] = dict(network_def)
    config["calibrated"] = []
    config["imaginary"] = "noise"
    del config["router"]["real"]
    config["amp"] = False
    config["roi_size"] = list(network_def["img_size"])
    config["router"]["networks"] = ["$stcnnt_checkpoints.load_weights(@network_def, @checkpoint).to(@device)"]
    config["inferer"]["shrink_to_image"] = [network_def.get("norm") != "layer3d", False, False]  # T is free
    text = json.dumps({name: entry for name, entry in config.items() if name != "imports"})
    config["imports"] = [line for line in config["imports"] if f"{line.split()[-1]}." in text]
    return config


def converted_metadata(carried: Mapping[str, Any], img_size: Sequence[int]) -> dict[str, Any]:
    """Metadata of a converted bundle.

    Args:
        carried: the metadata of the bundle ``mri_denoising``: its schema, versions and data format are kept.
        img_size: (T, H, W) that the network was built for.
    """
    kept = ("schema", "monai_version", "pytorch_version", "numpy_version", "required_packages_version",
            "optional_packages_version", "data_type", "eval_metrics", "intended_use")  # fmt: skip
    data_format = copy.deepcopy(carried["complex_network_data_format"])
    data_format["inputs"]["image"]["spatial_shape"] = list(img_size)
    data_format["outputs"]["pred"]["spatial_shape"] = list(img_size)
    return {
        **{name: copy.deepcopy(carried[name]) for name in kept},
        "version": VERSION,
        "changelog": {VERSION: "weights converted by stcnnt convert"},
        "name": "MRI denoising with converted SNRAware weights",
        "task": "Denoising of complex MR images: 2D, 2D+T and 3D",
        "description": "An imaging transformer that removes thermal noise from complex MR images in SNR units.",
        "authors": "the authors of SNRAware; converted by monai_stcnnt",
        "copyright": "Copyright (c) Microsoft Corporation",
        "license": "MIT",
        "data_source": "The weights were trained elsewhere; see the references and docs/README.md",
        "image_classes": "real and imaginary part in SNR units (noise of standard deviation 1 in each), g-factor map",
        "label_classes": "the same image without the added noise",
        "pred_classes": "denoised real and imaginary part in SNR units",
        "references": [
            "Xue et al., SNRAware: Improved Deep Learning MRI Denoising with SNR Unit Training and G-factor Map "
            "Augmentation, Radiology: Artificial Intelligence, 2025, https://doi.org/10.1148/ryai.250227"
        ],
        "network_data_format": data_format,
    }


def converted_readme(origin: Provenance, img_size: Sequence[int], parameters: int) -> str:
    """Text of a converted bundle's ``docs/README.md``.

    Args:
        origin: where the weights come from.
        img_size: (T, H, W) that the network was built for.
        parameters: number of the network's parameters.
    """
    frames, height, width = img_size
    return README.format(**vars(origin), parameters=parameters, frames=frames, height=height, width=width)
