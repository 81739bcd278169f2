-- However many dead letters there are, what is asked for is found by an index.
CREATE INDEX dead_letter_by_sequence ON dead_letter (sequence, sink);
CREATE INDEX dead_letter_by_event_id ON dead_letter (event_id);
CREATE INDEX dead_letter_by_time ON dead_letter (at_ms);
CREATE INDEX dead_letter_replaying ON dead_letter (sink, sequence) WHERE replaying = 1;

-- How many letters each sink has, kept by triggers; see schema.sql.
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
INSERT INTO dead_letter_count SELECT sink, count(*) FROM dead_letter GROUP BY sink;
