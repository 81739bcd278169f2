-- least: 1
-- Names are looked up in the schema that the journal has to itself. PostgreSQL takes no NUL in texts: rows.py escapes it.

-- One row, and the gate: whoever appends updates it first, so that sequences have no hole and become visible in order.
-- revision counts the batches with last values. event_bytes is what the events take: their data, and 256 for the rest.
CREATE TABLE head (
    one           boolean PRIMARY KEY DEFAULT true CHECK (one),
    last_sequence bigint NOT NULL DEFAULT 0,
    revision      bigint NOT NULL DEFAULT 0,
    event_bytes   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
INSERT INTO head DEFAULT VALUES;

-- One row an event. Sequences are consecutive.
CREATE TABLE event (
    sequence    bigint PRIMARY KEY,
    received_ms bigint NOT NULL,
    id          text NOT NULL,
    type        text NOT NULL,
    source      text NOT NULL,
    subject     text NOT NULL,
    time        text NOT NULL,
    kind        text NOT NULL,
    account     text NOT NULL,
    change      text,
    origin      text NOT NULL,
    data        bytea NOT NULL
);

-- The last value known of each (chat, key): what the next notification is classified against. revision is that of the
-- batch that brought it; the revision of a chat is the highest of its keys.
CREATE TABLE last_value (
    chat_id        text COLLATE "C" NOT NULL,
    key            text COLLATE "C" NOT NULL,
    value          text,
    account        text NOT NULL,
    server_time_ms bigint,
    received_ms    bigint NOT NULL,
    revision       bigint NOT NULL,
    PRIMARY KEY (chat_id, key)
) WITH (fillfactor = 80);

-- What is needed to continue an account's CometD session, as JSON of SessionState. seen_at is the moment of its seen_ms
-- by the clock of this server.
CREATE TABLE session (
    account text COLLATE "C" PRIMARY KEY,
    state   text NOT NULL,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Per sink, the sequence up to which everything is done with.
CREATE TABLE sink_cursor (
    sink     text COLLATE "C" PRIMARY KEY,
    sequence bigint NOT NULL
) WITH (fillfactor = 50);

-- Events that a sink can never take. The event is copied, because retention removes it from event.
CREATE TABLE dead_letter (
    sink        text COLLATE "C" NOT NULL,
    sequence    bigint NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    reason      text NOT NULL,
    attempts    bigint NOT NULL,
    at_ms       bigint NOT NULL,
    answer      text NOT NULL,
    replaying   boolean NOT NULL,
    received_ms bigint,
    type        text,
    source      text,
    subject     text,
    time        text,
    kind        text,
    account     text,
    change      text,
    origin      text,
    data        bytea,
    PRIMARY KEY (sink, sequence)
);
CREATE INDEX dead_letter_by_sequence ON dead_letter (sequence, sink);
CREATE INDEX dead_letter_by_event_id ON dead_letter (event_id);
CREATE INDEX dead_letter_by_time ON dead_letter (at_ms);
CREATE INDEX dead_letter_replaying ON dead_letter (sink, sequence) WHERE replaying;

-- How many letters each sink has: to count them costs milliseconds where there are many. Triggers keep it.
CREATE TABLE dead_letter_count (
    sink    text COLLATE "C" PRIMARY KEY,
    letters bigint NOT NULL
) WITH (fillfactor = 50);

-- What a lane wants to know after a restart, as JSON of LaneState.
CREATE TABLE lane_state (
    sink  text COLLATE "C" PRIMARY KEY,
    state text NOT NULL
);

-- The replicas that are neither evicted nor gone: a row that is not there is what refuses a write. batch_* is the
-- newest call of append and its answer. timeline is that of the server when it joined: a standby that was promoted may
-- lack what was told last, so that nobody may rely on it.
CREATE TABLE replica (
    incarnation    bigint PRIMARY KEY,
    name           text NOT NULL,
    version        text NOT NULL,
    schema_version integer NOT NULL,
    timeline       text NOT NULL,
    joined_at      timestamptz NOT NULL,
    batch_no       bigint NOT NULL DEFAULT 0,
    batch_sequence bigint NOT NULL DEFAULT 0,
    batch_revision bigint NOT NULL DEFAULT 0,
    batch_stale    text[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 20);

-- The beats of the replicas, apart from replica: so that no beat waits for an append of the same replica. settled is the
-- state of membership.change for which there was nothing to claim, nor to ask back; pause is the longest of the latest
-- breaks between two of its beats, which ended at paused_at.
CREATE TABLE pulse (
    incarnation  bigint PRIMARY KEY,
    lease        interval NOT NULL,
    beat_at      timestamptz NOT NULL,
    steady_since timestamptz NOT NULL,
    pause        interval NOT NULL DEFAULT '0',
    paused_at    timestamptz NOT NULL DEFAULT '-infinity',
    draining     boolean NOT NULL DEFAULT false,
    settled      bigint,
    report       bytea NOT NULL DEFAULT ''
) WITH (fillfactor = 20);

-- One row: its lock is held by whoever changes replicas, offers or duties; change counts these.
CREATE TABLE membership (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    change bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
INSERT INTO membership DEFAULT VALUES;

-- What replicas could do; only_name is the replica that alone may.
CREATE TABLE offer (
    duty        text COLLATE "C" NOT NULL,
    incarnation bigint NOT NULL,
    only_name   text,
    PRIMARY KEY (duty, incarnation)
);
CREATE INDEX offer_by_incarnation ON offer (incarnation);

-- Who does what. wanted is whether it is asked back.
CREATE TABLE duty (
    name   text COLLATE "C" PRIMARY KEY,
    kind   text COLLATE "C" NOT NULL,
    owner  bigint,
    epoch  bigint NOT NULL DEFAULT 0,
    wanted boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);
CREATE INDEX duty_by_owner ON duty (owner, epoch);
CREATE INDEX duty_wanted ON duty (owner, name) WHERE wanted;
CREATE SEQUENCE epoch;

-- What the owner of a duty has said about it last; no part of duty, so that no beat waits for one that changes owners.
CREATE TABLE duty_report (
    duty        text COLLATE "C" PRIMARY KEY,
    incarnation bigint NOT NULL,
    report      bytea NOT NULL
) WITH (fillfactor = 50);

-- What operators want of whoever has a duty.
CREATE TABLE duty_order (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    duty   text COLLATE "C" NOT NULL,
    what   text NOT NULL,
    UNIQUE (duty, what)
);
