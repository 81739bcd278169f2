// Times, lengths and amounts as they are read. Times are those of the viewer's zone.
import { make } from "./dom.js";

const two = (number) => String(number).padStart(2, "0");

const day = (date) => `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;

/** `14:03:22`, with the date where it is not today's. */
export function clock(ms, now = Date.now()) {
  const date = new Date(ms);
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return day(date) === day(new Date(now)) ? time : `${day(date)} ${time}`;
}

/** `14:03`, with the date where it is not today's. */
export const minute = (ms, now = Date.now()) => clock(ms, now).slice(0, -3);

/** What a field of date and time holds for this moment; empty for NaN. */
export function fieldOf(ms) {
  const date = new Date(ms);
  return Number.isNaN(ms) ? "" : `${day(date)}T${clock(ms, ms)}`;
}

/** The moment in UTC, with milliseconds. */
export function utc(ms) {
  return new Date(ms).toISOString().replace("T", " ").replace("Z", " UTC");
}

/** `UTC+01:00`: the zone that times are shown in. */
export function zone(date = new Date()) {
  const minutes = -date.getTimezoneOffset();
  if (minutes === 0) return "UTC";
  const all = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(all / 60))}:${two(all % 60)}`;
}

/** A `time` element, with UTC as its tooltip. */
export function timeOf(ms) {
  if (!Number.isFinite(ms)) return make("span", {}, "–");
  return make("time", { datetime: new Date(ms).toISOString(), title: utc(ms) }, clock(ms));
}

/** Put a time into an element; nothing is drawn anew while it says the same. */
export function setTime(element, ms) {
  const there = element.firstElementChild;
  const drawn = timeOf(ms);
  if (!there?.isEqualNode(drawn)) element.replaceChildren(drawn);
}

const UNITS = [
  ["d", 86400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

/** `0.4 s`, `14 s`, `3 min 5 s`, `2 d 4 h`: two units at most. */
export function duration(seconds) {
  if (seconds < 10) return `${Math.round(Math.max(0, seconds) * 10) / 10} s`;
  let rest = Math.round(seconds);
  const parts = [];
  for (const [name, size] of UNITS) {
    const number = Math.floor(rest / size);
    rest -= number * size;
    if (number || parts.length) parts.push(number ? `${number} ${name}` : "");
    if (parts.length === 2) break;
  }
  return parts.filter(Boolean).join(" ");
}

/** `34 ms`, `1.2 s`: how long something took. */
export const took = (seconds) => (seconds < 1 ? `${Math.round(seconds * 1000)} ms` : duration(seconds));

/** `1,234`. */
export const count = (number) => number.toLocaleString("en");

/** `1 row`, `1,234 rows`. */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** `3.1 MB`. */
export function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  let value = number;
  while (value >= 1000 && at < units.length - 1) {
    value /= 1000;
    at += 1;
  }
  return `${at ? value.toFixed(1) : value} ${units[at]}`;
}
