# Copyright (c) monai_stcnnt contributors
# SPDX-License-Identifier: Apache-2.0
"""Short-axis images of hearts of any anatomy and contrast, drawn from random numbers, with their labels.

A network that saw few patients learns from them that hearts look like these. Here every heart is another one: dilated
or small, with thick, thin or partly thin walls, at apex, middle or base or beyond both, in diastole or systole, with
papillary muscles or without, between lung, fat, liver, stomach and chest wall, in the contrast of balanced steady-state
free precession, of gradient echoes, of dark blood, or in none that exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from monai_stcnnt.mri.phantom import smooth_field

__all__ = ["DrawnHeart", "drawn_heart"]

TISSUES = ("lung", "fat", "muscle", "organ", "fluid", "blood", "wall")
CONTRASTS: dict[str, dict[str, tuple[float, float]]] = {
    "bssfp": {
        "lung": (0.02, 0.15), "fat": (0.6, 1.6), "muscle": (0.15, 0.45), "organ": (0.2, 0.6), "fluid": (0.6, 1.2),
        "blood": (0.6, 1.1), "wall": (0.15, 0.45),
    },
    "gre": {
        "lung": (0.02, 0.15), "fat": (0.3, 0.9), "muscle": (0.2, 0.5), "organ": (0.3, 0.7), "fluid": (0.1, 0.5),
        "blood": (0.5, 1.1), "wall": (0.25, 0.6),
    },
    "dark blood": {
        "lung": (0.02, 0.15), "fat": (0.5, 1.4), "muscle": (0.2, 0.6), "organ": (0.3, 0.8), "fluid": (0.1, 1.2),
        "blood": (0.03, 0.2), "wall": (0.4, 0.9),
    },
    "any": dict.fromkeys(TISSUES, (0.02, 1.2)),
}  # fmt: skip
CONTRAST_ODDS = (0.6, 0.2, 0.08, 0.12)


@dataclass(frozen=True)
class DrawnHeart:
    """One slice over time.

    Attributes:
        image: magnitudes ``(T, H, W)``, float32, without noise; blood is about 1 in most contrasts.
        labels: int64 ``(T, H, W)``: 0 background, 1 right ventricle, 2 myocardium, 3 left ventricle.
    """

    image: Tensor
    labels: Tensor


def drawn_heart(rng: np.random.RandomState, size: Sequence[int], pixel: float = 1.5) -> DrawnHeart:
    """Draw a heart.

    Args:
        rng: the random state.
        size: ``(T, H, W)``; T frames are one heart beat.
        pixel: size of a pixel in mm.

    Returns:
        Image and labels.
    """
    frames, height, width = size
    values = _contrast(rng)
    y = (np.arange(height, dtype=np.float32)[:, None] - (height - 1) / 2) * pixel
    x = (np.arange(width, dtype=np.float32)[None, :] - (width - 1) / 2) * pixel
    body = _body(rng, y, x, values)
    level = rng.choice(["apex", "middle", "base", "beyond"], p=[0.2, 0.5, 0.2, 0.1])
    heart = _Heart(rng, level, y, x, values)
    start = rng.uniform(0, 2 * np.pi)
    pairs = [heart.draw(body, 0.5 - 0.5 * np.cos(start + 2 * np.pi * t / frames)) for t in range(frames)]
    image = torch.from_numpy(np.stack([image for image, _ in pairs]))
    shade = torch.from_numpy(heart.texture)
    return DrawnHeart((image * shade).clamp(min=0).float(), torch.from_numpy(np.stack([label for _, label in pairs])))


class _Heart:
    """Anatomy of one slice, which can be drawn at any phase of the beat."""

    def __init__(
        self, rng: np.random.RandomState, level: str, y: np.ndarray, x: np.ndarray, values: dict[str, float]
    ) -> None:
        self.level, self.values = level, values
        cy, cx = rng.uniform(-20, 20, 2)
        self.radius = np.hypot(y - cy, x - cx).astype(np.float32) + 1e-3
        self.angle = np.arctan2(y - cy, x - cx).astype(np.float32)
        self.y, self.x = y - cy, x - cx
        small = {"apex": 0.55, "beyond": 0.7}.get(level, 1.0)
        self.cavity = rng.uniform(15, 38) * small
        self.shape = _wobble(rng, self.angle, (0.1, 0.05, 0.02))
        self.roughness = _wobble(rng, self.angle, (0, 0, 0.02, 0.03, 0.03, 0.02))
        self.wall = rng.uniform(5, 14) * (1 + _wobble(rng, self.angle, (0.25, 0.15, 0.1)))
        if rng.random_sample() < 0.4:
            self.wall *= 1 - rng.uniform(0.2, 0.7) * _sector(rng, self.angle)
        self.wall = np.maximum(self.wall, 3.0)
        self.ejection = rng.uniform(0.02, 0.5)
        self.septum = rng.uniform(-np.pi, np.pi)
        self.right = self._right_ventricle(rng, level)
        self.papillary = [
            (rng.uniform(-np.pi, np.pi), rng.uniform(0.55, 0.95), rng.uniform(2, 6))
            for _ in range(rng.choice(5, p=[0.3, 0.1, 0.35, 0.15, 0.1]))
        ]
        self.trabecula = rng.uniform(0, 0.5) if rng.random_sample() < 0.5 else 0.0
        self.flow = smooth_field(rng, self.angle.shape, int(rng.randint(4, 10))).numpy() * rng.uniform(0, 0.2)
        coarse = smooth_field(rng, self.angle.shape, int(rng.randint(6, 20))).numpy()
        fine = rng.standard_normal(self.angle.shape).astype(np.float32)
        self.texture = 1 + rng.uniform(0, 0.12) * coarse + rng.uniform(0, 0.08) * fine
        self.fat_ring = rng.uniform(1.5, 8) if rng.random_sample() < 0.6 else 0.0
        self.fat_part = _sector(rng, self.angle) if rng.random_sample() < 0.7 else np.ones_like(self.angle)
        self.vessels = [
            (rng.uniform(-np.pi, np.pi), rng.uniform(10, 45), rng.uniform(8, 25), rng.uniform(1.5, 4))
            for _ in range(rng.randint(2, 6))
        ]

    def _right_ventricle(self, rng: np.random.RandomState, level: str) -> tuple[float, ...]:
        """Distance and radii of the right ventricle, its wall, and how much it bulges; zeros where there is none."""
        if rng.random_sample() < (0.3 if level == "apex" else 0.02):
            return (0.0,) * 5
        share = rng.uniform(0.3, 0.8) if level == "apex" else rng.uniform(0.6, 1.4)
        long, short = (self.cavity + 8) * share * rng.uniform(0.9, 1.5), (self.cavity + 8) * share * rng.uniform(0.5, 1)
        return long, short, rng.uniform(0.1, 0.9), rng.uniform(0, 5), rng.uniform(-0.3, 0.3)

    def draw(self, body: np.ndarray, phase: float) -> tuple[np.ndarray, np.ndarray]:
        """Image and labels at a phase from 0, end diastole, to 1, end systole."""
        image, labels = body.copy(), np.zeros(body.shape, np.int64)
        if self.level == "beyond":
            return self._vessels_only(image), labels
        mean = self.cavity * (1 - self.ejection * phase)
        inner = mean * (1 + self.shape)
        thickness = np.sqrt(inner**2 + self.wall**2 + 2 * self.wall * self.cavity * (1 + self.shape)) - inner
        outer = inner + thickness
        ring = (self.radius < outer + self.fat_ring * (0.3 + self.fat_part)) & (self.fat_ring > 0)
        image = np.where(ring & (self.fat_part > 0.3), self.values["fat"], image)
        cavity, wall = self.radius < inner, self.radius < outer
        right, right_wall = self._right_masks(float(np.mean(outer)), phase)
        image = np.where(right_wall & ~wall, self.values["wall"], image)
        image = np.where(
            right & ~wall, self.values["blood"] * self.values["right"] * (1 + self.flow[::-1, ::-1]), image
        )
        image = np.where(wall, self.values["wall"], image)
        ragged = self.radius < inner * (1 + self.roughness - np.abs(self.roughness).max())
        blood = self.values["blood"] * (1 + self.flow)
        rim = self.trabecula * self.values["wall"] + (1 - self.trabecula) * blood
        image = np.where(cavity, np.where(ragged, blood, rim), image)
        for angle, place, radius in self.papillary:
            py, px = mean * place * np.sin(angle), mean * place * np.cos(angle)
            muscle = np.hypot(self.y - py, self.x - px) < min(radius, 0.35 * mean)
            image = np.where(muscle & cavity, self.values["wall"], image)
        labels[right & ~wall] = 1
        labels[wall] = 2
        labels[cavity] = 3
        return image, labels

    def _right_masks(self, outer: float, phase: float) -> tuple[np.ndarray, np.ndarray]:
        long, short, overlap, wall, tilt = self.right
        if long == 0:
            none = np.zeros(self.radius.shape, bool)
            return none, none
        long, short = long * (1 - 0.25 * phase * self.ejection), short * (1 - 0.6 * phase * self.ejection)
        distance = outer + short * (1 - 2 * overlap * 0.6)
        u = self.y * np.sin(self.septum) + self.x * np.cos(self.septum) - distance
        v = self.x * np.sin(self.septum) - self.y * np.cos(self.septum)
        bent = u + tilt * v + 0.4 * v**2 / (long + outer)
        return np.hypot(bent / short, v / long) < 1, np.hypot(bent / (short + wall), v / (long + wall)) < 1

    def _vessels_only(self, image: np.ndarray) -> np.ndarray:
        """Atria and great vessels above the base: blood with thin walls or none."""
        for angle, distance, radius, wall in self.vessels:
            r = np.hypot(self.y - distance * np.sin(angle), self.x - distance * np.cos(angle))
            r = r * (1 + 0.5 * self.shape)
            image = np.where(r < radius + wall, self.values["wall"], image)
            image = np.where(r < radius, self.values["blood"] * (1 + self.flow), image)
        return image


def _contrast(rng: np.random.RandomState) -> dict[str, float]:
    """Mean intensity of every tissue."""
    name = rng.choice(list(CONTRASTS), p=CONTRAST_ODDS)
    values = {tissue: float(rng.uniform(*CONTRASTS[name][tissue])) for tissue in TISSUES}
    if abs(values["blood"] - values["wall"]) < 0.15:
        values["wall"] = values["blood"] * float(rng.uniform(0.2, 0.6))
    return {**values, "right": float(rng.uniform(0.8, 1.2))}


def _body(rng: np.random.RandomState, y: np.ndarray, x: np.ndarray, values: dict[str, float]) -> np.ndarray:
    """Lung with vessels, an organ below, the chest wall, and large random regions of anything."""
    size = (y.shape[0], x.shape[1])
    regions = np.stack([smooth_field(rng, size, int(rng.randint(3, 7))).numpy() for _ in range(5)]).argmax(0)
    palette = [values[t] for t in rng.choice(["lung", "lung", "organ", "muscle", "fat", "fluid"], 5)]
    image = np.asarray(palette, np.float32)[regions]
    spots = smooth_field(rng, size, int(rng.randint(15, 35))).numpy()
    image = np.where((image == values["lung"]) & (spots > rng.uniform(1, 2)), values["blood"] * 0.7, image)
    for tissue, low, high in (("organ", 30, 70), ("muscle", 50, 85), ("fat", 60, 95)):
        if rng.random_sample() < 0.6:
            angle = rng.uniform(-np.pi, np.pi)
            bend = 4 * smooth_field(rng, size, 4).numpy()
            curve = rng.uniform(-0.004, 0.004) * (y * np.cos(angle) - x * np.sin(angle)) ** 2
            image = np.where(
                y * np.sin(angle) + x * np.cos(angle) + bend + curve > rng.uniform(low, high), values[tissue], image
            )
    return image.astype(np.float32)


def _wobble(rng: np.random.RandomState, angle: np.ndarray, sizes: Sequence[float]) -> np.ndarray:
    """Random periodic function of the angle; ``sizes`` are the standard deviations of its waves, from two on."""
    waves = [s * rng.standard_normal() * np.cos(k * angle + rng.uniform(0, 6.3)) for k, s in enumerate(sizes, 2) if s]
    return np.clip(np.sum(waves, axis=0), -0.5, 0.5).astype(np.float32)


def _sector(rng: np.random.RandomState, angle: np.ndarray) -> np.ndarray:
    """A smooth bump from 0 to 1 over a part of the circle."""
    return np.exp(rng.uniform(0.7, 4) * (np.cos(angle - rng.uniform(-np.pi, np.pi)) - 1)).astype(np.float32)
