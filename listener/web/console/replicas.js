// The replicas that share the journal, where there are any.
import { by, show } from "./dom.js";
import { count, counted, duration, setTime } from "./format.js";
import { Grid } from "./grid.js";

/** Whether an answer of `/status.json` is one of several replicas. */
export const isShared = (status) => status.replica !== null;

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

/** Everything that is not as it should be: of this replica, of the others, and what nobody has. */
export function troubles({ problems, accounts, sinks, replica, replicas }) {
  if (replica === null) return problems;
  const others = (replicas ?? []).filter((one) => one.name !== replica);
  return [
    ...problems,
    ...others.flatMap((one) => (one.state === "late" ? [late(one)] : one.problems.map((text) => `on ${one.name}: ${text}`))),
    ...without(accounts, "account is", "accounts are"),
    ...without(sinks, "sink is", "sinks are"),
  ];
}

const late = (one) => `replica ${one.name} has not been heard of for ${duration(one.beatAgeSeconds)}`;

function without(duties, one, many) {
  const number = duties.filter((duty) => duty.replica === null).length;
  return number ? [`${counted(number, one, many)} without a replica`] : [];
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
