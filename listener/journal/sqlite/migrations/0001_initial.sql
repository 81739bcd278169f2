-- The first schema.

-- One row an event. Sequences are consecutive: only the writer assigns them, and only a commit uses them up.
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
    data        BLOB NOT NULL
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
-- [name, value, domain, path]. clean is 1 where polling ended in order.
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
    clean           INTEGER NOT NULL
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
    UNIQUE (sink, sequence)
);

-- One row: the last sequence when retention deleted last, so that an emptied journal does not count from 1 again.
CREATE TABLE meta (
    last_sequence INTEGER NOT NULL
);
INSERT INTO meta (last_sequence) VALUES (0);
