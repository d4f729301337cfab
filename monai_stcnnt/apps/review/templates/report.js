(async () => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const { frames, slices, rows, columns } = data.shape;
  const plane = rows * columns;

  // Values come as 16-bit levels: differences along rows, low bytes before high bytes, deflated, in base64.
  async function decode(packed) {
    const plain = await inflated(packed.data);
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

  const size = { column: columns, row: rows, slice: slices };
  const stride = { column: 1, row: columns, slice: plane };
  const normal = (view) => ["column", "row", "slice"].find((axis) => axis !== view.across && axis !== view.down);
  const state = {
    frame: Math.min(data.start.frame, frames - 1), plane: 0, divider: 0.5, playing: false, map: false,
    column: data.start.column, row: data.start.row, slice: Math.min(data.start.slice, slices - 1),
    zoom: 1, x: 0.5, y: 0.5,  // of the middle of what is shown, as shares of the image
    width: data.window[1] - data.window[0], level: (data.window[0] + data.window[1]) / 2,
  };
  const view = () => data.planes[state.plane];
  const at = () => ((state.frame * slices + state.slice) * rows + state.row) * columns + state.column;
  const clamp = (v, low, high) => Math.max(low, Math.min(high, v));

  // Pictures of planes: every plane has a sheet of its own size, whose pixels go to the image by two strides.
  for (const one of data.planes) {
    one.sheet = document.createElement("canvas");
    one.sheet.width = size[one.across]; one.sheet.height = size[one.down];
    one.ink = one.sheet.getContext("2d");
    one.pixels = one.ink.createImageData(one.sheet.width, one.sheet.height);
    one.pixels.data.fill(255);
    one.aspect = (size[one.across] * data.spacing[one.across]) / (size[one.down] * data.spacing[one.down]);
  }
  function paint(one, shade) {
    const [wide, high] = [one.sheet.width, one.sheet.height];
    const [right, down] = [stride[one.across] * (one.flipAcross ? -1 : 1), stride[one.down] * (one.flipDown ? -1 : 1)];
    const axis = normal(one);
    const start = (one.flipAcross ? (wide - 1) * stride[one.across] : 0) + (one.flipDown ? (high - 1) * stride[one.down] : 0)
      + state.frame * slices * plane + state[axis] * stride[axis];
    let p = 0;
    for (let j = 0; j < high; j++) {
      for (let i = 0, k = start + j * down; i < wide; i++, k += right, p += 4) {
        const v = shade(k);
        one.pixels.data[p] = one.pixels.data[p + 1] = one.pixels.data[p + 2] = v;  // clamped by the array
      }
    }
    one.ink.putImageData(one.pixels, 0, 0);
    return one.sheet;
  }
  function shades() {
    const [low, scale] = [state.level - state.width / 2, 255 / state.width];
    const volume = slices * plane;
    const map = state.map ? rmsMap() : null;
    return {
      before: (k) => (valueOf(before, k) - low) * scale,
      after: (k) => (valueOf(after, k) - low) * scale,
      residual: map ? (k) => map[k % volume] * (510 / reach) : (k) => 127.5 + residualAt(k) / unit * (127.5 / reach),
    };
  }
  function stage(box, most) {
    const canvas = box.querySelector("canvas");
    const fit = (aspect) => {
      const room = box.parentElement.clientWidth;
      const width = Math.min(room, most * window.innerHeight * aspect);
      box.style.width = `${width}px`;
      box.style.height = `${width / aspect}px`;
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round((width / aspect) * devicePixelRatio);
    };
    return { box, canvas, fit, context: canvas.getContext("2d") };
  }
  const compare = stage(byId("compare"), 0.66);
  const residual = stage(byId("residual"), 0.66);

  // Shares of the image at the left and the top of what is shown.
  const corner = () => [state.x - 0.5 / state.zoom, state.y - 0.5 / state.zoom];
  function put(target, picture, left, right, isWhole) {
    const { width, height } = target.canvas;
    const zoom = isWhole ? 1 : state.zoom;
    const [x, y] = isWhole ? [0, 0] : corner();
    target.context.imageSmoothingEnabled = (width * zoom) / picture.width < 12 * devicePixelRatio;
    target.context.imageSmoothingQuality = "high";
    target.context.save();
    target.context.beginPath();
    target.context.rect(left * width, 0, (right - left) * width, height);
    target.context.clip();
    target.context.drawImage(picture, -x * zoom * width, -y * zoom * height, zoom * width, zoom * height);
    target.context.restore();
  }
  // Where the cursor is in a plane, as shares of its image.
  function spot(one) {
    const share = (axis, flip) => ((flip ? size[axis] - 1 - state[axis] : state[axis]) + 0.5) / size[axis];
    return [share(one.across, one.flipAcross), share(one.down, one.flipDown)];
  }
  function cross(target, one, isWhole) {
    const { context, canvas } = target;
    const zoom = isWhole ? 1 : state.zoom;
    const [left, top] = isWhole ? [0, 0] : corner();
    const [u, v] = spot(one);
    const [x, y] = [(u - left) * zoom * canvas.width, (v - top) * zoom * canvas.height];
    const arm = 7 * devicePixelRatio;
    context.lineWidth = 1.5 * devicePixelRatio;
    context.strokeStyle = "#ffb54a";
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + dx * arm * 0.4, y + dy * arm * 0.4);
      context.lineTo(x + dx * arm * 1.4, y + dy * arm * 1.4);
    }
    context.stroke();
  }
  function draw() {
    const shade = shades();
    put(compare, paint(view(), shade.before), 0, state.divider);
    put(compare, paint(view(), shade.after), state.divider, 1);
    put(residual, paint(view(), shade.residual), 0, 1);
    for (const target of [compare, residual]) cross(target, view());
    small.forEach((target, n) => {
      put(target, paint(data.planes[n], shade.after), 0, 1, true);
      cross(target, data.planes[n], true);
    });
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

  // The three planes of a volume, small; a click shows one large, and moves the cursor there.
  const small = slices < 2 ? [] : data.planes.map((one, n) => {
    const figure = document.createElement("figure");
    figure.innerHTML = '<div class="stage"><canvas role="img"></canvas></div><figcaption><button type="button"></button></figcaption>';
    const button = figure.querySelector("button");
    button.textContent = one.name;
    button.addEventListener("click", () => setPlane(n));
    byId("planes").append(figure);
    const target = stage(figure.querySelector(".stage"), 0.18);
    target.canvas.setAttribute("aria-label", `The ${one.name} plane through the cursor, after denoising`);
    target.canvas.addEventListener("click", (event) => { moveTo(one, target.canvas, event, true); setPlane(n); });
    return Object.assign(target, { button });
  });
  byId("planes").hidden = slices < 2;
  function setPlane(n) {
    state.plane = n;
    small.forEach((target, k) => target.button.setAttribute("aria-pressed", k === n));
    for (const letter of document.querySelectorAll(".stages .letter")) {
      letter.textContent = view().letters[letter.className.split(" ")[1]];
    }
    const axis = normal(view());
    byId("slice").max = size[axis] - 1;
    setZoom(1);
    setSlice(state[axis]);
    fit();
  }

  const digits = (step) => Math.max(0, Math.min(8, Math.ceil(-Math.log10(step))));
  const decimals = digits(Math.max(before.step, after.step));
  function tell() {
    const i = at();
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
    const across = view().across;
    const count = frames > 2 ? frames : size[across];
    const place = (n) => (frames > 2 ? at() + (n - state.frame) * slices * plane : at() + (n - state[across]) * stride[across]);
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
    context.fillText(frames > 2 ? (data.frameTime ? `time, 0 to ${((frames - 1) * data.frameTime).toFixed(0)} ms` : `${frames} frames`) : { column: "along the row", row: "along the column", slice: "through the slices" }[across], (left + right) / 2, high - 6);
    const now = frames > 2 ? state.frame : state[across];
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
  function setSlice(place) {
    const axis = normal(view());
    state[axis] = clamp(place, 0, size[axis] - 1);
    byId("slice").value = state[axis];
    const isSlice = axis === "slice";
    byId("slice-text").textContent = isSlice ? `${state[axis] * data.stride.slice + 1} of ${data.shape.allSlices}` : `${state[axis] + 1} of ${size[axis]}`;
    byId("slice-box").firstChild.textContent = `${axis[0].toUpperCase()}${axis.slice(1)} `;
    redraw();
  }
  function setDivider(share) {
    state.divider = clamp(share, 0, 1);
    const divider = byId("divider");
    divider.style.left = `${100 * state.divider}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * state.divider));
    divider.setAttribute("aria-valuetext", `${Math.round(100 * state.divider)} percent before`);
    redraw();
  }
  function moveCursor(across, down) {
    const { across: a, down: d, flipAcross, flipDown } = view();
    state[a] = clamp(state[a] + (flipAcross ? -across : across), 0, size[a] - 1);
    state[d] = clamp(state[d] + (flipDown ? -down : down), 0, size[d] - 1);
    redraw();
  }
  function moveTo(one, canvas, event, isWhole) {
    const box = canvas.getBoundingClientRect();
    const zoom = isWhole ? 1 : state.zoom;
    const [left, top] = isWhole ? [0, 0] : corner();
    const place = (axis, share, flip) => {
      const n = clamp(Math.floor(share * size[axis]), 0, size[axis] - 1);
      state[axis] = flip ? size[axis] - 1 - n : n;
    };
    place(one.across, left + (event.clientX - box.left) / box.width / zoom, one.flipAcross);
    place(one.down, top + (event.clientY - box.top) / box.height / zoom, one.flipDown);
    redraw();
  }
  function setWindow(width, level) {
    state.width = Math.max(width, (data.window[1] - data.window[0]) / 1000);
    state.level = level;
    byId("width").value = Number(state.width.toPrecision(4));
    byId("level").value = Number(state.level.toPrecision(4));
    redraw();
  }
  // Zoom about a point that stays where it is, u and v as shares of the canvas.
  function setZoom(zoom, u = 0.5, v = 0.5) {
    const [left, top] = corner();
    const [x, y] = [left + u / state.zoom, top + v / state.zoom];
    state.zoom = clamp(zoom, 1, 32);
    pan(x + (0.5 - u) / state.zoom, y + (0.5 - v) / state.zoom);
    byId("zoom-text").textContent = `${state.zoom.toFixed(1)}\u00d7`;
  }
  function pan(x, y) {
    const edge = 0.5 / state.zoom;
    state.x = clamp(x, edge, 1 - edge);
    state.y = clamp(y, edge, 1 - edge);
    redraw();
  }
  const play = player(state, frames, data.frameTime, 15, setFrame);

  for (const { canvas } of [compare, residual]) {
    const held = new Map();  // pointers that are down, and where they were
    const inside = (event) => {
      const box = canvas.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.clientX, event.clientY]);
      moveTo(view(), canvas, event);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => held.delete(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      const was = held.get(event.pointerId);
      if (!was) { moveTo(view(), canvas, event); return; }
      const [dx, dy] = [event.clientX - was[0], event.clientY - was[1]];
      const { width, height } = canvas.getBoundingClientRect();
      const others = [...held].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      held.set(event.pointerId, [event.clientX, event.clientY]);
      if (others.length) {  // two fingers: zoom about the other one
        const gap = (place) => Math.hypot(place[0] - others[0][0], place[1] - others[0][1]) || 1;
        const fixed = inside({ clientX: others[0][0], clientY: others[0][1] });
        setZoom(state.zoom * gap([event.clientX, event.clientY]) / gap(was), ...fixed);
      } else if (byId("tool").value === "pan" || event.shiftKey || event.buttons === 4) {
        pan(state.x - dx / width / state.zoom, state.y - dy / height / state.zoom);
      } else {
        const step = (data.window[1] - data.window[0]) / 300;
        setWindow(state.width + dx * step, state.level + dy * step);
      }
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      setZoom(state.zoom * Math.exp(-event.deltaY / 500), ...inside(event));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => setZoom(1));
    canvas.addEventListener("keydown", (event) => {
      const factor = { "+": 1.25, "=": 1.25, "-": 0.8, 0: 1 / state.zoom }[event.key];
      if (factor) setZoom(state.zoom * factor, ...spot(view()).map((share, n) => (share - corner()[n]) * state.zoom));
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      const far = event.shiftKey ? 10 : 1;
      moveCursor(far * step[0], far * step[1]);
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
    if (event.key === "[" || event.key === "]") setSlice(state[normal(view())] + (event.key === "]" ? 1 : -1));
  });
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("frame").addEventListener("input", (event) => { play(false); setFrame(Number(event.target.value)); });
  byId("slice").addEventListener("input", (event) => setSlice(Number(event.target.value)));
  for (const id of ["width", "level"]) {
    byId(id).addEventListener("change", () => {
      const [width, level] = ["width", "level"].map((name) => byId(name).valueAsNumber);
      if (Number.isFinite(width) && Number.isFinite(level)) setWindow(width, level);
      else setWindow(state.width, state.level);
    });
  }
  byId("mode").addEventListener("change", (event) => { state.map = event.target.value === "map"; scaleText(); redraw(); });
  byId("reset").addEventListener("click", () => {
    byId("mode").value = "frame"; state.map = false; scaleText(); setDivider(0.5); setZoom(1);
    setWindow(data.window[1] - data.window[0], (data.window[0] + data.window[1]) / 2);
  });
  followTheme(redraw);
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
  byId("frame-box").hidden = byId("play").hidden = byId("mode").parentElement.hidden = frames < 2;
  byId("slice-box").hidden = slices < 2;
  function fit() {
    compare.fit(view().aspect);
    residual.fit(view().aspect);
    small.forEach((target, n) => target.fit(data.planes[n].aspect));
    redraw();
  }
  addEventListener("resize", fit);
  scaleText();
  setDivider(0.5);
  setWindow(state.width, state.level);
  setPlane(0);
  setFrame(state.frame);
  play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  document.body.dataset.ready = "true";
})();
