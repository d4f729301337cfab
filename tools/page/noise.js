// Copyright (c) monai_stcnnt contributors
// SPDX-License-Identifier: Apache-2.0
// Noise level of magnitudes: what monai_stcnnt/mri/noise_level.py does, for single slices.

const BLOCK = 6;
const LEAST_BLOCKS = 12;
// Blocks of pure noise, by _chi_shape(1, 36) there: mean squared over mean square, its spread, and spread of a pixel.
const AIR = { ratio: 0.7908487, spread: 0.0392511, pixel: 0.6562866 };
const MEDIAN_OF_NORMAL = 0.6744897501960817;
const HIGH_PASS = [1 - Math.sqrt(3), Math.sqrt(3) - 3, 3 + Math.sqrt(3), -1 - Math.sqrt(3)].map((v) => v / (4 * Math.SQRT2));

const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;

function quantile(sorted, share) {
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low] + (place - low) * (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]);
}

const median = (values) => quantile(Float64Array.from(values).sort(), 0.5);

/** Noise level per component of magnitudes `images` ({values, rows, columns}); `variance` has factors from 0 on. */
export function noiseLevel(images, variance) {
  const bright = quantile(Float32Array.from(images.flatMap((image) => Array.from(image.values))).sort(), 0.99);
  const visible = images.flatMap((image) => Array.from(image.values.filter((v) => v > 0.1 * bright)));
  const floor = 1e-3 * (visible.length ? mean(visible) : 0);
  const air = airLevel(images, variance);
  const level = air > floor ? air : waveletLevel(images, variance);
  return Math.max(level, floor);
}

/** Level by blocks that look like air; 0 where there are too few. */
export function airLevel(images, variance) {
  for (const stride of [1, 2, 3]) {
    const blocks = images.flatMap((image) => cut(image, stride));
    const inGroup = noiseLike(blocks);
    const group = blocks.filter((_, i) => inGroup[i]);
    const rest = blocks.filter((block, i) => !inGroup[i] && block.every((v) => v > 0));
    const enough = group.length >= LEAST_BLOCKS && group.length >= 0.02 * blocks.length;
    if (enough && isAir(group, rest, variance)) return Math.sqrt(mean(group.map(meanSquare)) / 2);
  }
  return 0;
}

const meanSquare = (block) => mean(block.map((v) => v * v));

function cut({ values, rows, columns }, stride) {
  const blocks = [];
  const reach = BLOCK * stride;
  for (let phase = 0; phase < stride * stride; phase++) {
    for (let y = Math.floor(phase / stride); y + reach - stride < rows; y += reach) {
      for (let x = phase % stride; x + reach - stride < columns; x += reach) {
        const block = new Float64Array(BLOCK * BLOCK);
        for (let i = 0; i < block.length; i++) {
          block[i] = values[(y + stride * Math.floor(i / BLOCK)) * columns + x + stride * (i % BLOCK)];
        }
        blocks.push(block);
      }
    }
  }
  return blocks;
}

function noiseLike(blocks) {
  const power = blocks.map(meanSquare);
  const noisy = blocks.map((block, i) => {
    const zeros = block.filter((v) => v === 0).length / block.length;
    return Math.abs(mean(block) ** 2 / Math.max(power[i], 1e-300) - AIR.ratio) < 3 * AIR.spread && zeros < 0.3;
  });
  const sorted = Float64Array.from(power.filter((_, i) => noisy[i])).sort();
  if (!sorted.length) return noisy;
  const width = 3.5 / BLOCK;
  let best = [0, 0];
  for (let i = 0, upper = 0; i < sorted.length; i++) {
    while (upper < sorted.length && sorted[upper] <= (sorted[i] * (1 + width)) / (1 - width)) upper++;
    if (upper - i > best[1] - best[0]) best = [i, upper];
  }
  let center = quantile(sorted.subarray(...best), 0.5);
  for (const narrowing of [1, 0.8, 0.6, 0.6, 0.6]) {
    const near = sorted.filter((v) => Math.abs(v / center - 1) < narrowing * width);
    if (near.length) center = mean(near);
  }
  return noisy.map((is, i) => is && Math.abs(power[i] / center - 1) < 0.6 * width);
}

function isAir(group, rest, variance) {
  if (median(group.map(structure)) > 1.2) return false;
  if (rest.length < LEAST_BLOCKS) return true;
  const image = (values) => ({ values, rows: BLOCK, columns: BLOCK });
  return waveletLevel(group.map(image)) / AIR.pixel < 1.2 * waveletLevel(rest.map(image), variance);
}

/** Variance between the means of a block's quarters, over that within them. */
function structure(block) {
  const half = BLOCK / 2;
  const quarters = [0, half, half * BLOCK, half * BLOCK + half].map((start) =>
    Array.from({ length: half * half }, (_, i) => block[start + Math.floor(i / half) * BLOCK + (i % half)]),
  );
  const spread = (values) => {
    const middle = mean(values);
    return values.reduce((sum, v) => sum + (v - middle) ** 2, 0) / (values.length - 1);
  };
  return (spread(quarters.map(mean)) * half * half) / mean(quarters.map(spread));
}

/** Level by the finest diagonal details; of magnitudes where the factors of their variance are given. */
export function waveletLevel(images, variance) {
  const details = [];
  const power = [];
  for (const { values, rows, columns } of images) {
    for (let y = 0; y + 4 <= rows; y += 2) {
      for (let x = 0; x + 4 <= columns; x += 2) {
        let [detail, square, inside] = [0, 0, true];
        for (let i = 0; i < 16; i++) {
          const v = values[(y + (i >> 2)) * columns + x + (i & 3)];
          inside &&= v !== 0;
          detail += HIGH_PASS[i >> 2] * HIGH_PASS[i & 3] * v;
          square += (v * v) / 16;
        }
        if (inside) {
          details.push(Math.abs(detail));
          power.push(square);
        }
      }
    }
  }
  if (details.length < 16) return 0;
  let sigma = median(details) / MEDIAN_OF_NORMAL;
  for (let i = 0, before = 0; variance && sigma > 0 && i < 20 && Math.abs(sigma - before) >= 1e-4 * sigma; i++) {
    before = sigma;
    const spread = power.map((p) => Math.sqrt(factor(Math.sqrt(Math.max(p / before ** 2 - 2, 0)), variance)));
    sigma = median(details.map((d, j) => d / spread[j])) / MEDIAN_OF_NORMAL;
  }
  return sigma;
}

/** Variance of a magnitude at a signal, both in units of the noise. */
function factor(signal, { step, values }) {
  const place = Math.min(signal / step, values.length - 1);
  const low = Math.min(Math.floor(place), values.length - 2);
  return values[low] + (place - low) * (values[low + 1] - values[low]);
}
