-- The newest schema. The migrations, applied in order to an empty file, yield the same; a test compares the two.

-- One row an event. Sequences are consecutive but for what `hole` tells: only the writer assigns them, and only a
-- commit uses them up.
-- crc is the CRC-32 of the columns before it (rows.checksum), null in rows older than it.
-- deferred, above meta.folded_through, holds what last_value and session do not show yet: the values, and what has moved
-- of sessions (MessagePack, see deferred.py).
-- received_ms stands before the long columns, so that retention reads it without following overflow pages.
CREATE TABLE event (
    sequence    INTEGER PRIMARY KEY,
    received_ms INTEGER NOT NULL,
    id          TEXT NOT NULL,
    type        TEXT NOT NULL,
    source      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    time        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    account     TEXT NOT NULL,
    change      TEXT,
    origin      TEXT NOT NULL,
    data        BLOB NOT NULL,
    crc         INTEGER,
    deferred    BLOB
);

-- The last value known of each (chat, key): what the next notification is classified against.
CREATE TABLE last_value (
    chat_id        TEXT NOT NULL,
    key            TEXT NOT NULL,
    value          TEXT,
    account        TEXT NOT NULL,
    server_time_ms INTEGER,
    received_ms    INTEGER NOT NULL,
    PRIMARY KEY (chat_id, key)
) WITHOUT ROWID;

-- What the next start needs to continue an account's CometD session. cookies is a JSON array of
-- [name, value, domain, path]. clean is 1 where polling ended in order. seen_ms is by the wall clock, seen_monotonic_ms
-- the same moment by the monotonic clock, which counts from the start of the machine that boot names. taken is
-- what of a batch above ack is durable: a JSON array of [events, bytes, digest]. team is what a supervisor had heard of
-- its team: a JSON array of one TeamState, empty of an agent.
CREATE TABLE session (
    account         TEXT NOT NULL PRIMARY KEY,
    url             TEXT NOT NULL,
    topic           TEXT NOT NULL,
    client_id       TEXT NOT NULL,
    connection_type TEXT NOT NULL,
    ack             INTEGER,
    seen_ms         INTEGER NOT NULL,
    max_interval_ms INTEGER,
    cookies         TEXT NOT NULL,
    clean           INTEGER NOT NULL,
    seen_monotonic_ms INTEGER,
    boot TEXT NOT NULL DEFAULT '',
    taken           TEXT NOT NULL DEFAULT '[]',
    team            TEXT NOT NULL DEFAULT '[]'
) WITHOUT ROWID;

-- Per sink, the sequence up to which everything is done with.
CREATE TABLE sink_cursor (
    sink     TEXT NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL
) WITHOUT ROWID;

-- Events that a sink can never take. The event is copied, because retention removes it from `event`.
CREATE TABLE dead_letter (
    sink        TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    event_id    TEXT NOT NULL,
    reason      TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    at_ms       INTEGER NOT NULL,
    received_ms INTEGER,
    type        TEXT,
    source      TEXT,
    subject     TEXT,
    time        TEXT,
    kind        TEXT,
    account     TEXT,
    change      TEXT,
    origin      TEXT,
    data        BLOB,
    answer      TEXT NOT NULL DEFAULT '',
    replaying   INTEGER NOT NULL DEFAULT 0,
    UNIQUE (sink, sequence)
);
CREATE INDEX dead_letter_by_sequence ON dead_letter (sequence, sink);
CREATE INDEX dead_letter_by_event_id ON dead_letter (event_id);
CREATE INDEX dead_letter_by_time ON dead_letter (at_ms);
CREATE INDEX dead_letter_replaying ON dead_letter (sink, sequence) WHERE replaying = 1;

-- How many letters each sink has: to count them costs milliseconds where there are many. Triggers keep it, so that it
-- is of the same moment as the letters. What fires them is no REPLACE: that deletes without a trigger.
CREATE TABLE dead_letter_count (
    sink    TEXT NOT NULL PRIMARY KEY,
    letters INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER dead_letter_added AFTER INSERT ON dead_letter BEGIN
    INSERT INTO dead_letter_count SELECT new.sink, 0
        WHERE NOT EXISTS (SELECT 1 FROM dead_letter_count WHERE sink = new.sink);
    UPDATE dead_letter_count SET letters = letters + 1 WHERE sink = new.sink;
END;
CREATE TRIGGER dead_letter_removed AFTER DELETE ON dead_letter BEGIN
    UPDATE dead_letter_count SET letters = letters - 1 WHERE sink = old.sink;
END;

-- One row: the last sequence when retention deleted last, so that an emptied journal does not count from 1 again, and
-- the sequence up to which it deleted, so that what is salvaged from a damaged journal is not what it deleted. What
-- events up to folded_through defer is in last_value and session.
CREATE TABLE meta (
    last_sequence   INTEGER NOT NULL,
    deleted_through INTEGER NOT NULL DEFAULT 0,
    folded_through  INTEGER NOT NULL DEFAULT 0
);
INSERT INTO meta (last_sequence) VALUES (0);

-- What a lane wants to know after a restart; see LaneState.
CREATE TABLE lane_state (
    sink       TEXT NOT NULL PRIMARY KEY,
    parked     TEXT,
    parked_ms  INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    failing_ms INTEGER NOT NULL,
    last_error TEXT,
    disabled INTEGER NOT NULL DEFAULT 0,
    quiet_from_ms INTEGER NOT NULL DEFAULT 0,
    quiet_until_ms INTEGER NOT NULL DEFAULT 0,
    resend_after INTEGER NOT NULL DEFAULT 0,
    resend_through INTEGER NOT NULL DEFAULT 0
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
