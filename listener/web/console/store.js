// The rows that are loaded: a stretch of the journal without holes, oldest first.

export const CAPACITY = 10_000;

export class Store {
  rows = [];

  /** The newest sequence that was ever here; 0 for none. */
  last = 0;

  /** Take new rows, in their order; those that are here already are left out. Returns the ones that were taken. */
  add(rows) {
    const taken = [];
    for (const row of rows) {
      if (row.seq <= this.last) continue;
      this.last = row.seq;
      taken.push(row);
    }
    this.rows.push(...taken);
    if (this.rows.length > CAPACITY) this.rows.splice(0, this.rows.length - CAPACITY);
    return taken;
  }

  /** Take rows from before the first, newest first, as far as there is room. */
  addOlder(rows) {
    const first = this.first;
    const taken = rows.filter((row) => row.seq < first).slice(0, this.room);
    this.rows.unshift(...taken.reverse());
  }

  /** The oldest sequence here; infinite for none. */
  get first() {
    return this.rows.length ? this.rows[0].seq : Infinity;
  }

  /** How many more rows there may be. */
  get room() {
    return CAPACITY - this.rows.length;
  }

  /** Begin anew. */
  clear() {
    this.rows = [];
    this.last = 0;
  }
}
