"use strict";
// What the pages of denoising and of segmentation share.

// Bytes that are deflated, in base64.
async function inflated(packed) {
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Lets the button change between light and dark.
function followTheme(redraw) {
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    redraw();
  });
}

// Plays frames, each for its own time but at least so many milliseconds; returns what starts and stops it.
function player(state, frames, frameTime, shortest, setFrame) {
  const button = document.getElementById("play");
  const period = frameTime ? Math.max(shortest, Math.min(250, frameTime)) : 100;
  let last = 0;
  function tick(now) {
    if (!state.playing) return;
    if (now - last >= period) { last = now; setFrame(state.frame + 1); }
    requestAnimationFrame(tick);
  }
  return (on) => {
    state.playing = on && frames > 1;
    button.textContent = state.playing ? "Pause" : "Play";
    button.setAttribute("aria-pressed", state.playing);
    if (state.playing) requestAnimationFrame(tick);
  };
}
