// How each code looks, in the chart and beside it: a colour and a hatch, found from its name.
import { draw, make } from "./dom.js";

const INKS = 6;
const OTHER_INK = 6;
const STEP = 7; // to the next look where two codes meet: another colour and another hatch

// What tells looks apart without colour, over the colour, on a tile of 8 by 8.
const HATCHES = [
  "",
  "M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4",
  "M0,4 h8",
  "M2,2 h2 v2 h-2 z M6,6 h2 v2 h-2 z",
  "M-2,6 l4,4 M0,0 l8,8 M6,-2 l4,4",
  "M4,0 v8",
];
const CROSSED = "M0,4 h8 M4,0 v8";
const LOOKS = INKS * HATCHES.length;

const taken = new Map(); // places by code
const places = new Set();

/** The place of a code by its name alone (FNV-1a): the same for everybody, and tomorrow. */
function placeOf(code) {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(code)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash % LOOKS;
}

/**
 * Give these codes their looks, unless they have them. Where two meet in one place, the first by name keeps it, and
 * nobody gives up what is shown already; from the 37th code on looks may come twice.
 */
export function assign(codes) {
  for (const code of [...codes].filter((one) => !taken.has(one)).sort()) {
    if (places.size === LOOKS) return;
    let place = placeOf(code);
    while (places.has(place)) place = (place + STEP) % LOOKS;
    taken.set(code, place);
    places.add(place);
  }
}

/** `{ink, hatch}` of a code; of all others together for null. */
export function lookOf(code) {
  if (code === null) return { ink: OTHER_INK, hatch: HATCHES.length };
  assign([code]);
  const place = taken.get(code) ?? placeOf(code);
  return { ink: place % INKS, hatch: Math.floor(place / INKS) };
}

/** Patterns for these codes, for `paint`. */
export function patterns(codes) {
  const tiles = codes.map((code) => {
    const { ink, hatch } = lookOf(code);
    const tile = [draw("rect", { class: `ink${ink}`, width: 8, height: 8 })];
    const path = HATCHES[hatch] ?? CROSSED;
    if (path) tile.push(draw("path", { class: "hatch", d: path }));
    return draw("pattern", { id: nameOf(code), width: 8, height: 8, patternUnits: "userSpaceOnUse" }, ...tile);
  });
  return draw("defs", {}, ...tiles);
}

/** What fills a shape of this code, where `patterns` are there. */
export const paint = (code) => `url(#${nameOf(code)})`;

function nameOf(code) {
  const { ink, hatch } = lookOf(code);
  return `look-${ink}-${hatch}`;
}

/** A small square that looks like the code. */
export function swatch(code) {
  const { ink, hatch } = lookOf(code);
  return make("span", { class: `swatch ink${ink} hatch${hatch}`, "aria-hidden": "true" });
}
