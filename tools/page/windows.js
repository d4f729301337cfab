// Copyright (c) monai_stcnnt contributors
// SPDX-License-Identifier: Apache-2.0
// Sliding windows over one slice: those of monai_stcnnt.inferers.FrameSlidingWindowInferer, of one frame.

/** First pixels of the windows along an axis. */
export function starts(extent, size, share) {
  const step = extent === size ? size : Math.max(Math.trunc(size * (1 - share)), 1);
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
 * @param window {size, share, weights}: side of the windows, share in common, weights of their pixels.
 * @param network takes a window in units of the noise, returns one; both Float32Array.
 * @param advance called with the number of windows done and that of all.
 */
export async function denoiseSlice(image, sigma, { size, share, weights }, network, advance) {
  const rows = Math.max(image.rows, size);
  const columns = Math.max(image.columns, size);
  const sums = new Float32Array(rows * columns);
  const totals = new Float32Array(rows * columns);
  const places = starts(rows, size, share).flatMap((y) => starts(columns, size, share).map((x) => [y, x]));
  for (const [done, [y, x]] of places.entries()) {
    const patch = new Float32Array(size * size);
    for (let i = 0; i < patch.length; i++) {
      const row = reflected(y + Math.floor(i / size), image.rows);
      patch[i] = image.values[row * image.columns + reflected(x + (i % size), image.columns)] / sigma;
    }
    const result = await network(patch);
    if (!result.every(Number.isFinite)) throw new Error("The network gave values that are not numbers.");
    for (let i = 0; i < patch.length; i++) {
      const place = (y + Math.floor(i / size)) * columns + x + (i % size);
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
