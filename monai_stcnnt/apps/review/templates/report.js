"use strict";
(async () => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const { frames, slices, rows, columns } = data.shape;
  const plane = rows * columns;

  // Values come as 16-bit levels: differences along rows, low bytes before high bytes, deflated, in base64.
  async function decode(packed) {
    const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const plain = new Uint8Array(await new Response(stream).arrayBuffer());
    const count = plain.length / 2;
    const levels = new Uint16Array(count);
    for (let start = 0; start < count; start += columns) {
      let level = 0;
      for (let i = start; i < start + columns; i++) {
        level = (level + plain[i] + 256 * plain[count + i]) & 65535;
        levels[i] = level;
      }
    }
    return { levels, offset: packed.offset, step: packed.step };
  }
  const [before, after, given] = await Promise.all([
    decode(data.before), decode(data.after), data.residual ? decode(data.residual) : null,
  ]);
  const valueOf = (image, i) => image.offset + image.step * image.levels[i];
  const residualAt = (i) => (given ? valueOf(given, i) : valueOf(before, i) - valueOf(after, i));
  const unit = data.sigma || 1;
  const reach = data.reach;

  const state = {
    frame: Math.min(data.start.frame, frames - 1), slice: Math.min(data.start.slice, slices - 1),
    divider: 0.5, row: data.start.row, column: data.start.column, playing: false, map: false,
  };
  const index = (frame, slice, row, column) => ((frame * slices + slice) * rows + row) * columns + column;
  const at = () => index(state.frame, state.slice, 0, 0);

  function gray() {
    const [low, high] = data.window;
    const width = (high - low) * 4 ** ((50 - byId("contrast").value) / 50);
    const center = (low + high) / 2 + (high - low) * (50 - byId("level").value) / 50;
    return [center - width / 2, 255 / width];
  }
  const sheet = document.createElement("canvas");
  sheet.width = columns; sheet.height = rows;
  const ink = sheet.getContext("2d");
  const pixels = ink.createImageData(columns, rows);
  pixels.data.fill(255);
  function paint(shade) {
    for (let i = 0; i < plane; i++) {
      const v = shade(i);
      const p = 4 * i;
      pixels.data[p] = pixels.data[p + 1] = pixels.data[p + 2] = v;  // clamped by the array
    }
    ink.putImageData(pixels, 0, 0);
    return sheet;
  }
  function stage(id) {
    const box = byId(id);
    const canvas = box.querySelector("canvas");
    const aspect = (columns * data.pixel.width) / (rows * data.pixel.height);
    const fit = () => {
      const room = box.parentElement.clientWidth;
      const width = Math.min(room, 0.66 * window.innerHeight * aspect);
      box.style.width = `${width}px`;
      box.style.height = `${width / aspect}px`;
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round((width / aspect) * devicePixelRatio);
    };
    return { canvas, fit, context: canvas.getContext("2d") };
  }
  const compare = stage("compare");
  const residual = stage("residual");
  function put(target, picture, left, right) {
    const { width, height } = target.canvas;
    target.context.imageSmoothingEnabled = true;
    target.context.imageSmoothingQuality = "high";
    target.context.save();
    target.context.beginPath();
    target.context.rect(left * width, 0, (right - left) * width, height);
    target.context.clip();
    target.context.drawImage(picture, 0, 0, width, height);
    target.context.restore();
  }
  function cross(target) {
    const { context, canvas } = target;
    const x = ((state.column + 0.5) / columns) * canvas.width;
    const y = ((state.row + 0.5) / rows) * canvas.height;
    const size = 7 * devicePixelRatio;
    context.lineWidth = 1.5 * devicePixelRatio;
    context.strokeStyle = "#ffb54a";
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * size * 0.4, y + dy * size * 0.4);
      context.lineTo(x + dx * size * 1.4, y + dy * size * 1.4);
    }
    context.stroke();
  }
  function draw() {
    const start = at();
    const [low, scale] = gray();
    put(compare, paint((i) => (valueOf(before, start + i) - low) * scale), 0, state.divider);
    put(compare, paint((i) => (valueOf(after, start + i) - low) * scale), state.divider, 1);
    cross(compare);
    if (state.map) {
      const [base, map] = [state.slice * plane, rmsMap()];
      put(residual, paint((i) => map[base + i] * (255 / (reach / 2))), 0, 1);
    } else {
      put(residual, paint((i) => 127.5 + residualAt(start + i) / unit * (127.5 / reach)), 0, 1);
    }
    cross(residual);
    tell();
    curve();
  }
  let rms = null;
  function rmsMap() {
    if (rms) return rms;
    rms = new Float32Array(slices * plane);
    for (let t = 0; t < frames; t++) {
      for (let i = 0; i < rms.length; i++) rms[i] += residualAt(t * rms.length + i) ** 2;
    }
    for (let i = 0; i < rms.length; i++) rms[i] = Math.sqrt(rms[i] / frames) / unit;
    return rms;
  }
  let queued = false;
  const redraw = () => {
    if (!queued) { queued = true; requestAnimationFrame(() => { queued = false; draw(); }); }
  };

  const digits = (step) => Math.max(0, Math.min(8, Math.ceil(-Math.log10(step))));
  const decimals = digits(Math.max(before.step, after.step));
  function tell() {
    const i = at() + state.row * columns + state.column;
    let [row, column] = [state.row, state.column];
    if (data.view.flipRows) row = rows - 1 - row;
    if (data.view.flipColumns) column = columns - 1 - column;
    const [x, y] = data.view.transpose ? [row, column] : [column, row];
    const place = [x * data.stride.pixel, y * data.stride.pixel, state.slice * data.stride.slice, state.frame];
    const difference = residualAt(i);
    const items = [
      ["voxel (x, y, z, t)", place.join(", ")],
      ["before", valueOf(before, i).toFixed(decimals)],
      ["after", valueOf(after, i).toFixed(decimals)],
      ["residual", difference.toFixed(decimals) + (data.sigma ? ` (${(difference / unit).toFixed(2)} \u03c3)` : "")],
    ];
    byId("readout").replaceChildren(...items.map(([name, value]) => {
      const span = document.createElement("span");
      const bold = document.createElement("b");
      bold.textContent = value;
      span.append(name, bold);
      return span;
    }));
  }

  // Over time where there are frames, else along the row.
  function curve() {
    const canvas = byId("curve");
    const [wide, high] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = wide * devicePixelRatio; canvas.height = high * devicePixelRatio;
    const context = canvas.getContext("2d");
    context.scale(devicePixelRatio, devicePixelRatio);
    const style = getComputedStyle(document.body);
    const color = (name) => { const probe = byId("probe"); probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };
    const count = frames > 2 ? frames : columns;
    const place = (n) => (frames > 2 ? index(n, state.slice, state.row, state.column) : index(state.frame, state.slice, state.row, n));
    const lines = [before, after].map((image) => Array.from({ length: count }, (_, n) => valueOf(image, place(n))));
    let [low, high2] = [Math.min(...lines.flat()), Math.max(...lines.flat())];
    if (high2 - low < 1e-12) { low -= 1; high2 += 1; }
    const left = 58, right = wide - 12, top = 10, bottom = high - 26;
    const px = (n) => left + (right - left) * (count > 1 ? n / (count - 1) : 0.5);
    const py = (v) => bottom - (bottom - top) * ((v - low) / (high2 - low));
    context.font = `12px ${style.fontFamily}`;
    context.fillStyle = color("--quiet");
    context.strokeStyle = color("--line");
    context.lineWidth = 1;
    context.textAlign = "right"; context.textBaseline = "middle";
    for (let k = 0; k <= 2; k++) {
      const v = low + (k / 2) * (high2 - low);
      context.beginPath(); context.moveTo(left, py(v)); context.lineTo(right, py(v)); context.stroke();
      context.fillText(Number(v.toPrecision(3)), left - 6, py(v));
    }
    context.textAlign = "center"; context.textBaseline = "alphabetic";
    context.fillText(frames > 2 ? (data.frameTime ? `time, 0 to ${((frames - 1) * data.frameTime).toFixed(0)} ms` : `${frames} frames`) : "along the row", (left + right) / 2, high - 6);
    const now = frames > 2 ? state.frame : state.column;
    context.strokeStyle = color("--quiet"); context.setLineDash([3, 3]);
    context.beginPath(); context.moveTo(px(now), top); context.lineTo(px(now), bottom); context.stroke();
    context.setLineDash([]);
    [["--quiet", 1.5], ["--accent", 2.5]].forEach(([name, width], k) => {
      context.strokeStyle = color(name); context.lineWidth = width; context.lineJoin = "round";
      context.beginPath();
      lines[k].forEach((v, n) => (n ? context.lineTo(px(n), py(v)) : context.moveTo(px(n), py(v))));
      context.stroke();
    });
  }

  function setFrame(frame) {
    state.frame = (frame + frames) % frames;
    byId("frame").value = state.frame;
    const time = data.frameTime ? `, ${(state.frame * data.frameTime).toFixed(0)} ms` : "";
    byId("frame-text").textContent = `${state.frame + 1} of ${frames}${time}`;
    document.body.dataset.frame = state.frame;
    redraw();
  }
  function setSlice(slice) {
    state.slice = Math.max(0, Math.min(slices - 1, slice));
    byId("slice").value = state.slice;
    byId("slice-text").textContent = `${state.slice * data.stride.slice + 1} of ${data.shape.allSlices}`;
    redraw();
  }
  function setDivider(share) {
    state.divider = Math.max(0, Math.min(1, share));
    const divider = byId("divider");
    divider.style.left = `${100 * state.divider}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * state.divider));
    divider.setAttribute("aria-valuetext", `${Math.round(100 * state.divider)} percent before`);
    redraw();
  }
  function setCursor(row, column) {
    state.row = Math.max(0, Math.min(rows - 1, row));
    state.column = Math.max(0, Math.min(columns - 1, column));
    redraw();
  }
  let last = 0;
  const period = data.frameTime ? Math.max(15, Math.min(250, data.frameTime)) : 100;
  function tick(now) {
    if (!state.playing) return;
    if (now - last >= period) { last = now; setFrame(state.frame + 1); }
    requestAnimationFrame(tick);
  }
  function play(on) {
    state.playing = on && frames > 1;
    byId("play").textContent = state.playing ? "Pause" : "Play";
    byId("play").setAttribute("aria-pressed", state.playing);
    if (state.playing) requestAnimationFrame(tick);
  }

  for (const target of [compare, residual]) {
    target.canvas.addEventListener("pointermove", (event) => {
      const box = target.canvas.getBoundingClientRect();
      setCursor(Math.floor(((event.clientY - box.top) / box.height) * rows), Math.floor(((event.clientX - box.left) / box.width) * columns));
    });
    target.canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step) return;
      const far = event.shiftKey ? 10 : 1;
      setCursor(state.row + far * step[0], state.column + far * step[1]);
      event.preventDefault();
    });
  }
  const divider = byId("divider");
  divider.addEventListener("pointerdown", (event) => divider.setPointerCapture(event.pointerId));
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const box = compare.canvas.getBoundingClientRect();
    setDivider((event.clientX - box.left) / box.width);
  });
  divider.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
    if (step === undefined) return;
    setDivider(state.divider + step);
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && !event.target.closest("button, select, input")) { play(!state.playing); event.preventDefault(); }
    if (event.key === "," || event.key === ".") { play(false); setFrame(state.frame + (event.key === "." ? 1 : -1)); }
    if (event.key === "[" || event.key === "]") setSlice(state.slice + (event.key === "]" ? 1 : -1));
  });
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("frame").addEventListener("input", (event) => { play(false); setFrame(Number(event.target.value)); });
  byId("slice").addEventListener("input", (event) => setSlice(Number(event.target.value)));
  for (const id of ["level", "contrast"]) byId(id).addEventListener("input", redraw);
  byId("mode").addEventListener("change", (event) => { state.map = event.target.value === "map"; scaleText(); redraw(); });
  byId("reset").addEventListener("click", () => {
    byId("level").value = byId("contrast").value = 50;
    byId("mode").value = "frame"; state.map = false; scaleText(); setDivider(0.5);
  });
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    redraw();
  });
  function scaleText() {
    const name = data.sigma ? " \u03c3" : "";
    const text = (v) => Number(v.toPrecision(3)) + name;
    byId("residual-name").textContent = state.map ? "Residual, RMS over frames" : "Residual";
    byId("ramp-low").textContent = state.map ? `0${name}` : `\u2212${text(reach)}`;
    byId("ramp-high").textContent = state.map ? text(reach / 2) : `+${text(reach)}`;
  }
  const probe = document.createElement("span");
  probe.id = "probe"; probe.hidden = true;
  document.body.append(probe);

  byId("frame").max = frames - 1;
  byId("slice").max = slices - 1;
  byId("frame-box").hidden = byId("play").hidden = byId("mode").parentElement.hidden = frames < 2;
  byId("slice-box").hidden = slices < 2;
  const fit = () => { compare.fit(); residual.fit(); redraw(); };
  addEventListener("resize", fit);
  fit();
  scaleText();
  setDivider(0.5);
  setSlice(state.slice);
  setFrame(state.frame);
  play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  document.body.dataset.ready = "true";
})();
