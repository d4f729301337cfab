(async () => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const { frames, slices, rows, columns } = data.shape;
  const plane = rows * columns;

  const [grays, labels] = await Promise.all([inflated(data.image), inflated(data.masks)]);

  const state = { frame: data.start.frame, slice: data.start.slice, playing: false, veil: 0.2, hidden: new Set(), masks: true };
  const colors = new Map(data.classes.map((one) => [one.value, [1, 3, 5].map((at) => parseInt(one.color.slice(at, at + 2), 16))]));

  // One frame of one slice on a sheet of the image's own pixels; masks are a veil within and a line along their edges.
  const sheet = document.createElement("canvas");
  sheet.width = columns; sheet.height = rows;
  const sheetContext = sheet.getContext("2d");
  const pixels = sheetContext.createImageData(columns, rows);
  function fillSheet(slice) {
    const start = (state.frame * slices + slice) * plane;
    const out = pixels.data;
    for (let i = 0; i < plane; i++) {
      const gray = grays[start + i];
      const value = labels[start + i];
      const color = state.masks && value && !state.hidden.has(value) ? colors.get(value) : null;
      for (let k = 0; k < 3; k++) out[4 * i + k] = color ? gray + state.veil * (color[k] - gray) : gray;
      out[4 * i + 3] = 255;
    }
    sheetContext.putImageData(pixels, 0, 0);
  }
  function drawPlane(canvas, slice, line) {
    const context = canvas.getContext("2d");
    fillSheet(slice);
    context.imageSmoothingEnabled = true;
    context.drawImage(sheet, 0, 0, canvas.width, canvas.height);
    if (!state.masks) return;
    const start = (state.frame * slices + slice) * plane;
    const [sx, sy] = [canvas.width / columns, canvas.height / rows];
    context.lineWidth = line;
    for (const { value, color } of data.classes) {
      if (state.hidden.has(value)) continue;
      context.strokeStyle = color;
      context.beginPath();
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++) {
          const inside = labels[start + y * columns + x] === value;
          if (x + 1 < columns && inside !== (labels[start + y * columns + x + 1] === value)) {
            context.moveTo((x + 1) * sx, y * sy); context.lineTo((x + 1) * sx, (y + 1) * sy);
          }
          if (y + 1 < rows && inside !== (labels[start + (y + 1) * columns + x] === value)) {
            context.moveTo(x * sx, (y + 1) * sy); context.lineTo((x + 1) * sx, (y + 1) * sy);
          }
        }
      }
      context.stroke();
    }
  }

  const big = byId("stage").querySelector("canvas");
  const small = [];
  for (let n = 0; n < slices; n++) {
    const button = document.createElement("button");
    button.type = "button";
    const canvas = document.createElement("canvas");
    const name = document.createElement("span");
    name.textContent = data.sliceNames[n];
    button.append(canvas, name);
    button.addEventListener("click", () => setSlice(n));
    byId("slices").append(button);
    small.push({ button, canvas });
  }
  const aspect = (columns * data.pixel.width) / (rows * data.pixel.height);
  function fit() {
    const ratio = devicePixelRatio || 1;
    const room = byId("stage").parentElement.clientWidth;
    const width = Math.min(room, 0.62 * Math.max(innerHeight, 560) * aspect);
    byId("stage").style.width = `${width}px`;
    byId("stage").style.height = `${width / aspect}px`;
    big.width = Math.round(width * ratio); big.height = Math.round((width / aspect) * ratio);
    for (const { canvas } of small) {
      const w = canvas.parentElement.clientWidth;
      canvas.style.height = `${w / aspect}px`;
      canvas.width = Math.round(w * ratio); canvas.height = Math.round((w / aspect) * ratio);
    }
    redraw();
  }

  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const ratio = devicePixelRatio || 1;
      drawPlane(big, state.slice, 1.6 * ratio);
      small.forEach(({ canvas, button }, n) => {
        drawPlane(canvas, n, ratio);
        button.setAttribute("aria-pressed", n === state.slice);
      });
      drawCurve();
    });
  }

  // The curves follow the frame by a line and by the values below.
  const curve = byId("curve");
  const margin = { left: 44, right: 12, top: 10, bottom: 30 };
  const along = data.times || data.curves[0].map((_, n) => n + 1);
  const top = Math.max(1, ...data.curves.flat()) * 1.08;
  const inCurve = (w, h) => ({
    x: (t) => margin.left + ((along[t] - along[0]) / ((along[frames - 1] - along[0]) || 1)) * (w - margin.left - margin.right),
    y: (v) => h - margin.bottom - (v / top) * (h - margin.top - margin.bottom),
  });
  function drawCurve() {
    if (frames < 2) return;
    const ratio = devicePixelRatio || 1;
    const [w, h] = [curve.clientWidth, curve.clientHeight];
    if (curve.width !== Math.round(w * ratio)) { curve.width = Math.round(w * ratio); curve.height = Math.round(h * ratio); }
    const context = curve.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, w, h);
    const probe = getComputedStyle(byId("probe"));
    const [ink, quiet, line] = [probe.color, probe.borderTopColor, probe.outlineColor];
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const { x, y } = inCurve(w, h);
    const step = [1, 2, 5, 10, 20, 25, 50, 100, 200].find((one) => top / one <= 6) || 500;
    context.textAlign = "right"; context.textBaseline = "middle";
    for (let value = 0; value <= top; value += step) {
      context.strokeStyle = line; context.lineWidth = 1;
      context.beginPath(); context.moveTo(margin.left, y(value)); context.lineTo(w - margin.right, y(value)); context.stroke();
      context.fillStyle = quiet; context.fillText(String(value), margin.left - 6, y(value));
    }
    context.textBaseline = "alphabetic"; context.textAlign = "left";
    context.fillText(data.unit, margin.left, h - 8);
    context.textAlign = "right"; context.fillText(data.times ? "time (ms)" : "frame", w - margin.right, h - 8);
    context.textAlign = "center";
    context.fillText(data.times ? along[state.frame].toFixed(0) : String(along[state.frame]), x(state.frame), h - 18);
    data.classes.forEach((one, k) => {
      if (state.hidden.has(one.value)) return;
      context.strokeStyle = one.color; context.fillStyle = one.color; context.lineWidth = one.ends ? 2.4 : 1.4;
      context.beginPath();
      data.curves[k].forEach((value, t) => (t ? context.lineTo(x(t), y(value)) : context.moveTo(x(t), y(value))));
      context.stroke();
      for (const t of one.ends || []) { context.beginPath(); context.arc(x(t), y(data.curves[k][t]), 4.5, 0, 7); context.fill(); }
    });
    context.strokeStyle = ink; context.lineWidth = 1.2;
    context.beginPath(); context.moveTo(x(state.frame), margin.top); context.lineTo(x(state.frame), h - margin.bottom); context.stroke();
  }

  function setFrame(frame) {
    state.frame = (frame + frames) % frames;
    byId("frame").value = state.frame;
    const time = data.times ? `, ${data.times[state.frame].toFixed(0)} ms` : "";
    const ends = data.classes.flatMap((one) => (one.ends || []).map((t, n) => (t === state.frame ? `${one.name}: ${n ? "end systole" : "end diastole"}` : "")));
    byId("frame-text").textContent = `${state.frame + 1} of ${frames}${time}`;
    document.body.dataset.frame = state.frame;
    byId("readout").replaceChildren(...data.classes.map((one, k) => {
      const part = document.createElement("span");
      const value = document.createElement("b");
      value.textContent = `${data.curves[k][state.frame].toFixed(1)} ${data.unit}`;
      part.append(one.name, value);
      return part;
    }), Object.assign(document.createElement("span"), { textContent: ends.filter(Boolean).join(", ") }));
    where();
    redraw();
  }
  function setSlice(slice) {
    state.slice = Math.max(0, Math.min(slices - 1, slice));
    byId("slice").value = state.slice;
    byId("slice-text").textContent = `${data.sliceNumbers[state.slice]} of ${data.shape.allSlices}`;
    document.body.dataset.slice = state.slice;
    where();
    redraw();
  }
  const where = () => { byId("where").textContent = data.sliceNames[state.slice]; };
  const play = player(state, frames, data.frameTime, 30, setFrame);
  function setMasks(on) { state.masks = on; byId("masks").checked = on; redraw(); }

  for (const one of data.classes) {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    const mark = document.createElement("i");
    mark.style.background = one.color;
    box.dataset.value = one.value;
    box.addEventListener("change", () => { state.hidden[box.checked ? "delete" : "add"](one.value); redraw(); });
    label.className = "switch";
    label.append(box, mark, one.name);
    byId("classes").append(label);
  }
  const probe = document.createElement("span");
  probe.id = "probe"; probe.hidden = true;
  document.body.append(probe);

  byId("masks").addEventListener("change", (event) => setMasks(event.target.checked));
  byId("veil").addEventListener("input", (event) => { state.veil = event.target.value / 100; redraw(); });
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("frame").addEventListener("input", (event) => { play(false); setFrame(Number(event.target.value)); });
  byId("slice").addEventListener("input", (event) => setSlice(Number(event.target.value)));
  function chooseTime(event) {
    const box = curve.getBoundingClientRect();
    const { x } = inCurve(box.width, box.height);
    const place = event.clientX - box.left;
    play(false);
    setFrame(along.map((_, t) => Math.abs(x(t) - place)).reduce((best, d, t, all) => (d < all[best] ? t : best), 0));
  }
  curve.addEventListener("pointerdown", (event) => { curve.setPointerCapture(event.pointerId); chooseTime(event); });
  curve.addEventListener("pointermove", (event) => { if (curve.hasPointerCapture(event.pointerId)) chooseTime(event); });
  big.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    if (step[0]) { play(false); setFrame(state.frame + step[0]); } else setSlice(state.slice + step[1]);
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && !event.target.closest("button, input")) { play(!state.playing); event.preventDefault(); }
    if (event.key === "," || event.key === ".") { play(false); setFrame(state.frame + (event.key === "." ? 1 : -1)); }
    if (event.key === "[" || event.key === "]") setSlice(state.slice + (event.key === "]" ? 1 : -1));
    if (event.key.toLowerCase() === "m") setMasks(!state.masks);
  });
  followTheme(redraw);
  byId("frame").max = frames - 1;
  byId("slice").max = slices - 1;
  byId("frame-box").hidden = byId("play").hidden = byId("curve-card").hidden = frames < 2;
  byId("slice-box").hidden = byId("slices").hidden = slices < 2;
  addEventListener("resize", fit);
  setSlice(state.slice);
  setFrame(state.frame);
  fit();
  play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  document.body.dataset.ready = "true";
})();
