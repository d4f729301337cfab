// Copyright (c) monai_stcnnt contributors
// SPDX-License-Identifier: Apache-2.0
// Files to stacks of planes, and back to NIfTI.
//
// A stack is {name, rows, columns, slices, frames, planes, spacing, affine}: planes are Float32Arrays, slice by slice of
// the first frame, then of the next; spacing is (x, y, z) in mm and t in seconds; affine is 4 x 4, in mm, RAS.

import dicomParser from "dicom-parser";
import * as nifti from "nifti-reader-js";

const PLAIN_SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"];
const NIFTI_ARRAYS = new Map([
  [2, Uint8Array], [4, Int16Array], [8, Int32Array], [16, Float32Array],
  [64, Float64Array], [256, Int8Array], [512, Uint16Array], [768, Uint32Array],
]);

/** Read what was dropped: one NIfTI file, or the files of a DICOM folder. Returns the stack. */
export async function readStack(files) {
  const images = files.filter((file) => /\.nii(\.gz)?$/i.test(file.name));
  if (images.length > 1) throw new Error(`${images.length} NIfTI files were given; give one.`);
  if (images.length) return readNifti(images[0].name, await images[0].arrayBuffer());
  const found = [];
  for (const file of files) {
    const image = readDicom(file.name, new Uint8Array(await file.arrayBuffer()));
    if (image) found.push(image);
  }
  return stackDicom(found);
}

function readNifti(name, content) {
  const data = nifti.isCompressed(content) ? nifti.decompress(content) : content;
  if (!nifti.isNIFTI(data)) throw new Error(`${name} is not a NIfTI file.`);
  const header = nifti.readHeader(data);
  const kind = NIFTI_ARRAYS.get(header.datatypeCode);
  if (!kind) throw new Error(`${name} has values of a kind that is not a magnitude (datatype ${header.datatypeCode}).`);
  const [rank, columns, rows, slices, frames] = header.dims.map((n) => Math.max(n, 1));
  if (rank > 4 && header.dims.slice(5, rank + 1).some((n) => n > 1)) {
    throw new Error(`${name} has ${rank} axes; x, y, slice and time are read.`);
  }
  const depth = rank > 2 ? slices : 1;
  const times = rank > 3 ? frames : 1;
  const area = rows * columns;
  const raw = ordered(nifti.readImage(header, data), kind.BYTES_PER_ELEMENT, header.littleEndian);
  if (raw.byteLength < area * depth * times * kind.BYTES_PER_ELEMENT) throw new Error(`${name} ends too early.`);
  const stored = new kind(raw, 0, area * depth * times);
  const slope = header.scl_slope || 1;
  const inter = header.scl_slope ? header.scl_inter : 0;
  const planes = Array.from({ length: depth * times }, (_, n) =>
    Float32Array.from(stored.subarray(n * area, (n + 1) * area), (v) => v * slope + inter),
  );
  const spacing = header.pixDims.slice(1, 5);
  const coded = header.qform_code > 0 || header.sform_code > 0;
  const affine = coded ? header.affine : centered(spacing, [columns, rows, depth]);
  return checked({ name, rows, columns, slices: depth, frames: times, planes, spacing, affine });
}

/** Bytes in the order of this machine, which is little-endian. */
function ordered(buffer, width, littleEndian) {
  const bytes = new Uint8Array(buffer.slice(0));
  for (let start = 0; !littleEndian && start < bytes.length; start += width) bytes.subarray(start, start + width).reverse();
  return bytes.buffer;
}

function centered(spacing, counts) {
  const at = (i) => (i === 0 ? -1 : 1) * spacing[i];
  return [0, 1, 2, 3].map((i) =>
    [0, 1, 2, 3].map((j) => (i === 3 ? Number(j === 3) : j === 3 ? (-at(i) * (counts[i] - 1)) / 2 : i === j ? at(i) : 0)),
  );
}

/** One image of a DICOM file; null for files that are none. */
function readDicom(name, bytes) {
  let set;
  try {
    set = dicomParser.parseDicom(bytes);
  } catch {
    return null; // such as a text beside the images
  }
  const pixels = set.elements.x7fe00010;
  if (!pixels) return null;
  const refuse = (reason) => {
    throw new Error(`${name} ${reason}`);
  };
  const syntax = set.string("x00020010");
  if (!PLAIN_SYNTAXES.includes(syntax)) refuse(`is compressed (transfer syntax ${syntax}); the stcnnt command reads it.`);
  if (set.uint16("x00280002") !== 1) refuse("is a color image.");
  if ((set.intString("x00280008") ?? 1) > 1) refuse("has several frames; the stcnnt command reads it.");
  if (["P", "PHASE", "PHASE MAP"].includes((set.string("x00080008", 2) ?? "").trim())) refuse("is a phase image.");
  const numbers = (tag, count) => Array.from({ length: count }, (_, i) => set.floatString(tag, i));
  const bits = set.uint16("x00280100");
  const signed = set.uint16("x00280103") === 1;
  const kind = { 8: signed ? Int8Array : Uint8Array, 16: signed ? Int16Array : Uint16Array }[bits];
  if (!kind) refuse(`has pixels of ${bits} bits.`);
  const [rows, columns] = [set.uint16("x00280010"), set.uint16("x00280011")];
  const stored = new kind(bytes.slice(pixels.dataOffset, pixels.dataOffset + pixels.length).buffer);
  if (stored.length < rows * columns) refuse("ends too early.");
  const [slope, inter] = [set.floatString("x00281053") ?? 1, set.floatString("x00281052") ?? 0];
  const position = numbers("x00200032", 3);
  const axes = numbers("x00200037", 6);
  return {
    rows, columns,
    series: set.string("x0020000e"),
    values: Float32Array.from(stored.subarray(0, rows * columns), (v) => v * slope + inter),
    position: position.every(Number.isFinite) ? position : null,
    axes: axes.every(Number.isFinite) ? axes : [1, 0, 0, 0, 1, 0],
    pixel: [set.floatString("x00280030", 1) ?? 1, set.floatString("x00280030", 0) ?? 1],
    thickness: set.floatString("x00180050") ?? 1,
    time: set.floatString("x00181060") ?? set.intString("x00200100") ?? 0,
    number: set.intString("x00200013") ?? 0,
  };
}

const cross = ([a, b, c], [d, e, f]) => [b * f - c * e, c * d - a * f, a * e - b * d];
const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);

/** The series with the most images, sorted by place and time. */
function stackDicom(images) {
  if (!images.length) throw new Error("There is no MR image among these files: give a NIfTI file or a DICOM folder.");
  const series = Map.groupBy(images, (image) => image.series);
  const largest = [...series.values()].sort((a, b) => b.length - a.length)[0];
  const { rows, columns, axes, pixel, thickness } = largest[0];
  const same = (image) => image.rows === rows && image.columns === columns && dot(image.axes, axes) > 1.999;
  if (!largest.every(same)) throw new Error("The images of this series differ in size or orientation.");
  const normal = cross(axes.slice(0, 3), axes.slice(3));
  const placed = largest.map((image) => ({ ...image, place: image.position ? dot(image.position, normal) : image.number }));
  placed.sort((a, b) => a.place - b.place || a.time - b.time || a.number - b.number);
  const places = [...new Set(placed.map((image) => image.place.toFixed(3)))];
  const slices = places.length;
  const frames = placed.length / slices;
  const complete = places.every((p) => placed.filter((image) => image.place.toFixed(3) === p).length === frames);
  if (!complete) throw new Error("The slices of this series have different numbers of frames: some are missing.");
  const planes = [];
  for (let t = 0; t < frames; t++) for (let z = 0; z < slices; z++) planes.push(placed[z * frames + t].values);
  const depth = slices > 1 ? (placed.at(-1).place - placed[0].place) / (slices - 1) : thickness;
  const spacing = [...pixel, Math.abs(depth), 1];
  const origin = placed[0].position ?? [0, 0, 0];
  const toRas = [-1, -1, 1];
  const affine = [0, 1, 2].map((i) =>
    [axes[i] * pixel[0], axes[3 + i] * pixel[1], normal[i] * depth, origin[i]].map((v) => v * toRas[i]),
  );
  const name = series.size > 1 ? `largest of ${series.size} series` : "DICOM series";
  return checked({ name, rows, columns, slices, frames, planes, spacing, affine: [...affine, [0, 0, 0, 1]] });
}

function checked(stack) {
  if (!stack.planes.every((plane) => plane.every(Number.isFinite))) {
    throw new Error(`${stack.name} has values that are not numbers.`);
  }
  return stack;
}

/** A stack as the bytes of a NIfTI file, float32. */
export function writeNifti({ rows, columns, slices, frames, planes, spacing, affine }) {
  const start = 352;
  const buffer = new ArrayBuffer(start + 4 * rows * columns * planes.length);
  const view = new DataView(buffer);
  view.setInt32(0, 348, true);
  const dims = [frames > 1 ? 4 : 3, columns, rows, slices, frames, 1, 1, 1];
  dims.forEach((n, i) => view.setInt16(40 + 2 * i, n, true));
  view.setInt16(70, 16, true);
  view.setInt16(72, 32, true);
  [1, ...spacing].forEach((v, i) => view.setFloat32(76 + 4 * i, v, true));
  view.setFloat32(108, start, true);
  view.setFloat32(112, 1, true);
  view.setUint8(123, 2 + 8); // millimetres and seconds
  view.setInt16(254, 1, true);
  affine.slice(0, 3).flat().forEach((v, i) => view.setFloat32(280 + 4 * i, v, true));
  [0x6e, 0x2b, 0x31].forEach((v, i) => view.setUint8(344 + i, v));
  planes.forEach((plane, n) => new Float32Array(buffer, start + 4 * n * plane.length, plane.length).set(plane));
  return buffer;
}
