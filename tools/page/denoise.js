// Copyright (c) monai_stcnnt contributors
// SPDX-License-Identifier: Apache-2.0
// The page: files in, slices denoised one by one, a NIfTI file out.

import * as ort from "onnxruntime-web/wasm";

import { readStack, writeNifti } from "./files.js";
import { noiseLevel } from "./noise.js";
import { denoiseSlice } from "./windows.js";

const SLICES_FOR_NOISE = 8;
const find = (id) => document.getElementById(id);
const options = JSON.parse(find("options").textContent);
let stack = null;
let results = [];
let busy = false;
let session = null;

/** Bytes that the page carries, compressed. */
async function carried(id) {
  const packed = Uint8Array.from(atob(find(id).textContent), (c) => c.charCodeAt(0));
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).arrayBuffer();
}

async function start() {
  ort.env.wasm.numThreads = 1; // more need a server that isolates the page
  ort.env.wasm.wasmBinary = await carried("runtime");
  return ort.InferenceSession.create(new Uint8Array(await carried("model")), { executionProviders: ["wasm"] });
}

/** Run the network on a window in units of the noise; its g-factor map is 1. */
async function network(patch, rows, columns) {
  session ??= await start();
  const values = new Float32Array(2 * patch.length).fill(1);
  values.set(patch);
  const input = new ort.Tensor("float32", values, [1, 2, 1, rows, columns]);
  const output = await session.run({ [session.inputNames[0]]: input });
  return output[session.outputNames[0]].data;
}

function draw() {
  if (!stack) return;
  const n = Number(find("plane").value);
  const { rows, columns, slices, frames } = stack;
  const image = { values: stack.planes[n], rows, columns };
  const sorted = Float32Array.from(image.values).sort();
  const top = sorted[Math.floor(0.998 * (sorted.length - 1))] || 1;
  paint(find("before"), image, top);
  if (results[n]) paint(find("after"), { ...image, values: results[n] }, top);
  find("after").hidden = !results[n];
  const place = frames > 1 ? `, frame ${Math.floor(n / slices) + 1} of ${frames}` : "";
  find("plane-text").textContent = `${(n % slices) + 1} of ${slices}${place}`;
  find("save").disabled = busy || results.filter(Boolean).length < stack.planes.length;
  for (const id of ["one", "all"]) find(id).disabled = busy;
}

function paint(canvas, { values, rows, columns }, top) {
  [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(columns, rows);
  values.forEach((v, i) => pixels.data.set([(255 * v) / top, (255 * v) / top, (255 * v) / top, 255], 4 * i));
  context.putImageData(pixels, 0, 0);
}

const say = (text) => (find("message").textContent = text);
const rest = () => new Promise((resolve) => setTimeout(resolve));

/** Do something that takes a while; what goes wrong is said on the page. */
async function work(task) {
  if (busy) return;
  busy = true;
  draw();
  try {
    await task();
  } catch (error) {
    say(error.message);
  }
  busy = false;
  draw();
}

async function open(files) {
  stack = null;
  say("Reading …");
  const read = await readStack(files);
  const { rows, columns, slices, frames, planes } = read;
  const chosen = Math.min(planes.length, SLICES_FOR_NOISE);
  const sample = Array.from({ length: chosen }, (_, i) => planes[Math.floor(((i + 0.5) * planes.length) / chosen)]);
  const sigma = noiseLevel(sample.map((values) => ({ values, rows, columns })), options.variance);
  if (!(sigma > 0)) throw new Error(`${read.name} is empty: there is no noise to estimate.`);
  stack = read;
  results = planes.map(() => null);
  find("sigma").value = sigma.toPrecision(5);
  find("plane").max = planes.length - 1;
  find("plane").value = Math.floor(slices / 2);
  find("work").hidden = false;
  say(`${read.name}: ${columns} x ${rows}, ${slices} slices, ${frames} frames. Noise level ${sigma.toPrecision(4)}, estimated.`);
}

async function denoise(numbers) {
  const sigma = Number(find("sigma").value);
  if (!(sigma > 0 && Number.isFinite(sigma))) throw new Error("The noise level must be a positive number.");
  const begun = performance.now();
  for (const [done, n] of numbers.entries()) {
    const image = { values: stack.planes[n], rows: stack.rows, columns: stack.columns };
    const result = await denoiseSlice(image, sigma, options.window, network, async (windows, all) => {
      say(`Slice ${done + 1} of ${numbers.length}: ${windows} of ${all} windows`);
      await rest();
    });
    results[n] = result.values;
    draw();
  }
  say(`Denoised ${numbers.length === 1 ? "this slice" : `${numbers.length} slices`} in ${Math.round((performance.now() - begun) / 1000)} s.`);
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([writeNifti({ ...stack, planes: results })]));
  link.download = "denoised.nii";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** All files of handles, those of folders included. */
async function filesOfHandles(handles) {
  const files = [];
  for await (const handle of handles) {
    if (handle.kind === "file") files.push(await handle.getFile());
    else files.push(...(await filesOfHandles(handle.values())));
  }
  return files;
}

/** The same for entries, in browsers without handles. */
async function filesOfEntries(entries) {
  const files = [];
  for (const entry of entries) {
    if (entry.isFile) files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    if (!entry.isDirectory) continue;
    const reader = entry.createReader();
    const next = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    for (let part = await next(); part.length; part = await next()) files.push(...(await filesOfEntries(part)));
  }
  return files;
}

function dropped(event) {
  event.preventDefault();
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  // Chromium does not read entries on pages that are files themselves, others have no handles.
  const handles = items.map((item) => item.getAsFileSystemHandle?.());
  const entries = items.map((item) => item.webkitGetAsEntry());
  const files = handles.every(Boolean) ? Promise.all(handles).then(filesOfHandles) : filesOfEntries(entries);
  work(async () => open(await files));
}

document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", dropped);
for (const id of ["file", "folder"]) find(id).addEventListener("change", (event) => work(() => open([...event.target.files])));
find("plane").addEventListener("input", draw);
find("sigma").addEventListener("change", () => {
  results = results.map(() => null);
  draw();
});
find("one").addEventListener("click", () => work(() => denoise([Number(find("plane").value)])));
find("all").addEventListener("click", () => work(() => denoise([...results.keys()].filter((n) => !results[n]))));
find("save").addEventListener("click", save);
document.body.dataset.ready = "yes";
