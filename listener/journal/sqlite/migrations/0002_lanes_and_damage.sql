-- A checksum for each event, what became of dead letters, the state of lanes, and what damage cost.
ALTER TABLE event ADD COLUMN crc INTEGER;
ALTER TABLE dead_letter ADD COLUMN answer TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letter ADD COLUMN replaying INTEGER NOT NULL DEFAULT 0;

-- The sequence up to which retention deleted, so that what is salvaged from a damaged journal is not what it deleted.
ALTER TABLE meta ADD COLUMN deleted_through INTEGER NOT NULL DEFAULT 0;

-- What a lane wants to know after a restart; see LaneState.
CREATE TABLE lane_state (
    sink       TEXT NOT NULL PRIMARY KEY,
    parked     TEXT,
    parked_ms  INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    failing_ms INTEGER NOT NULL,
    last_error TEXT
) WITHOUT ROWID;

-- Damaged journals that were set aside. stretches is a JSON array of [from_ms, to_ms]; pending is 1 until the gaps are
-- events themselves.
CREATE TABLE damage (
    at_ms     INTEGER NOT NULL,
    set_aside TEXT NOT NULL,
    kept      INTEGER NOT NULL,
    stretches TEXT NOT NULL,
    pending   INTEGER NOT NULL
);

-- The sequences that no event has any more, or never had: damage took them, or the journal went on behind them.
CREATE TABLE hole (
    first_sequence INTEGER PRIMARY KEY,
    last_sequence  INTEGER NOT NULL
);
