// Copyright (c) monai_stcnnt contributors
// SPDX-License-Identifier: Apache-2.0
// Sliding windows over one slice: those of monai_stcnnt.inferers.FrameSlidingWindowInferer, of one frame, which shrink to
// the image.

const MULTIPLE = 4;
const SIGMA = 0.125;
const LEAST = 1e-3;

/** What neighbors have in common, in pixels. */
const shared = ({ size, share }) => size - Math.max(Math.trunc(size * (1 - share)), 1);

/** Smallest window of which no more are needed than of the largest. */
export function fitting(extent, window) {
  const { size, least } = window;
  if (extent <= size) return Math.max(extent, least);
  const common = shared(window);
  const count = Math.ceil((extent - common) / (size - common));
  const found = Math.ceil((extent + (count - 1) * common) / count);
  return Math.min(size, MULTIPLE * Math.ceil(found / MULTIPLE));
}

/** Weights of the pixels of a window where windows overlap. */
function bell(height, width) {
  const along = (n) =>
    Array.from({ length: n }, (_, i) => Math.exp(-((i - (n - 1) / 2) ** 2) / (2 * (SIGMA * n) ** 2)));
  const across = along(width);
  const weights = Float32Array.from(along(height).flatMap((y) => across.map((x) => y * x)));
  const least = Math.max(weights[0], LEAST);
  return weights.map((w) => Math.max(w, least));
}

/** First pixels of the windows along an axis. */
export function starts(extent, size, common) {
  const step = extent === size ? size : Math.max(size - common, 1);
  const found = [];
  for (let place = 0; ; place += step) {
    found.push(Math.min(place, extent - size));
    if (place + size >= extent) return found;
  }
}

/** A position beyond the end of an axis, folded back by reflection. */
export function reflected(position, extent) {
  const period = Math.max(2 * (extent - 1), 1);
  const index = position % period;
  return Math.min(index, period - index);
}

/**
 * Denoise a slice.
 *
 * @param image magnitudes ({values, rows, columns}).
 * @param sigma their noise level.
 * @param window {size, share, least}: largest side of the windows, share in common, smallest side.
 * @param network takes a window in units of the noise, its rows and columns, and returns one; both Float32Array.
 * @param advance called with the number of windows done and that of all.
 */
export async function denoiseSlice(image, sigma, window, network, advance) {
  const [height, width] = [fitting(image.rows, window), fitting(image.columns, window)];
  const weights = bell(height, width);
  const rows = Math.max(image.rows, height);
  const columns = Math.max(image.columns, width);
  const sums = new Float32Array(rows * columns);
  const totals = new Float32Array(rows * columns);
  const common = shared(window);
  const places = starts(rows, height, common).flatMap((y) => starts(columns, width, common).map((x) => [y, x]));
  for (const [done, [y, x]] of places.entries()) {
    const patch = new Float32Array(height * width);
    for (let i = 0; i < patch.length; i++) {
      const row = reflected(y + Math.floor(i / width), image.rows);
      patch[i] = image.values[row * image.columns + reflected(x + (i % width), image.columns)] / sigma;
    }
    const result = await network(patch, height, width);
    if (!result.every(Number.isFinite)) throw new Error("The network gave values that are not numbers.");
    for (let i = 0; i < patch.length; i++) {
      const place = (y + Math.floor(i / width)) * columns + x + (i % width);
      sums[place] += weights[i] * Math.max(result[i], 0);
      totals[place] += weights[i];
    }
    await advance(done + 1, places.length);
  }
  const values = new Float32Array(image.rows * image.columns);
  for (let i = 0; i < values.length; i++) {
    const place = Math.floor(i / image.columns) * columns + (i % image.columns);
    values[i] = (sigma * sums[place]) / totals[place];
  }
  return { ...image, values };
}
