-- least: 1
-- The sequences behind the first event that no event has: those of a journal that was copied from a damaged file.
CREATE TABLE hole (
    first_sequence bigint PRIMARY KEY,
    last_sequence  bigint NOT NULL
);
