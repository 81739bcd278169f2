// The replicas that share the journal, where there are any.
import { by, show } from "./dom.js";
import { count, duration, setTime } from "./format.js";
import { Grid } from "./grid.js";

/** Whether a summary is that of one of several replicas. */
export const isShared = (summary) => summary.replica !== null;

/** Who has an account or a sink. */
export const ownerColumn = () => ({ label: "Replica", class: "owner", text: (one) => one.replica ?? "none" });

/** The table of all replicas, and the sentence that stands for it while the database cannot be asked. */
export class Replicas {
  #grid = new Grid(by("replicas"), columns(), (one) => one.name);

  draw({ replica, replicas }) {
    show(by("replicas-part"), replica !== null);
    show(by("replicas-unknown"), replicas === null);
    show(by("replicas"), replicas !== null);
    this.#grid.update(
      (replicas ?? []).map((one) => ({ ...one, isThis: one.name === replica })),
      (one) => (one.state === "late" || one.ready === false ? "wrong" : ""),
    );
  }
}

function columns() {
  return [
    { label: "Replica", class: "lead", text: (one) => (one.isThis ? `${one.name} (this one)` : one.name) },
    { label: "State", class: "state", text: state },
    { label: "Accounts", class: "n", text: (one) => count(one.accounts) },
    { label: "Sinks", class: "n", text: (one) => count(one.sinks) },
    { label: "Retention", text: (one) => (one.housekeeping ? "Yes" : "") },
    { label: "Since", draw: (cell, one) => setTime(cell, Date.parse(one.joinedAt)) },
    { label: "Version", text: (one) => one.version },
    { label: "Problems", class: "long", text: (one) => one.problems.join("; ") },
  ];
}

function state(one) {
  if (one.state === "late") return `Not heard of for ${duration(one.beatAgeSeconds)}`;
  if (one.state === "draining") return "Draining";
  return one.ready === false ? "Not ready" : "Alive";
}
