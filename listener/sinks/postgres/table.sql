-- The table of a sink of type `postgres`, for PostgreSQL 12 or later with the encoding UTF8.
--
-- The sink writes source to event and leaves rows that are there alone. It needs the rights to INSERT and SELECT, and
-- the primary key; whatever else is here may be changed, and columns with a default may be added.

CREATE TABLE "dispositions" (
    source      text        NOT NULL,  -- what events come from; an id is its own there (CloudEvents 1.0, "id")
    id          text        NOT NULL,
    type        text        NOT NULL,
    subject     text        NOT NULL,  -- the chat; of a gap, the account
    time        timestamptz NOT NULL,
    sequence    bigint      NOT NULL,  -- where it is in the journal: the order of the events of a chat
    data        jsonb       NOT NULL,  -- to be asked; jsonb knows no NUL, U+FFFD stands for it here and in all other columns
    event       text        NOT NULL,  -- the event to the letter, as `format` has it
    account     text        GENERATED ALWAYS AS (data ->> 'account') STORED,
    key         text        GENERATED ALWAYS AS (data ->> 'key') STORED,
    disposition text        GENERATED ALWAYS AS (data ->> 'disposition') STORED,
    previous    text        GENERATED ALWAYS AS (data ->> 'previous') STORED,
    change      text        GENERATED ALWAYS AS (data ->> 'change') STORED,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, id)
);

CREATE INDEX ON "dispositions" (subject, sequence);
CREATE INDEX ON "dispositions" (time);
