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

  /** Take the rows from before `first` on, newest first, as far as there is room; none where it is first no more. */
  addOlder(rows, first) {
    if (first === this.first) this.rows.unshift(...rows.slice(0, this.room).reverse());
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
