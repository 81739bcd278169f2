// Clocks that run: how long something has lasted by now, by the daemon's clock.
import { make } from "./dom.js";
import { duration } from "./format.js";

let aheadMs = 0; // how far the daemon's clock is ahead of the browser's

/** The daemon's clock shows this now. */
export function set(ms) {
  aheadMs = ms - Date.now();
}

/** What the daemon's clock shows, in epoch milliseconds. */
export const now = () => Date.now() + aheadMs;

/** How long it has lasted since then; runs as long as it is in the document. */
export function running(ms) {
  const clock = make("span", { class: "running", "data-since": ms });
  show(clock);
  return clock;
}

function show(clock) {
  clock.textContent = duration(Math.max(0, Math.round((now() - Number(clock.dataset.since)) / 1000)));
}

setInterval(() => document.querySelectorAll(".running").forEach(show), 1000);
