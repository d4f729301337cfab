"use strict";
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
