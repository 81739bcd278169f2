-- Last values and sessions in the rows of the newest events; see schema.sql.
ALTER TABLE event ADD COLUMN deferred BLOB;
ALTER TABLE meta ADD COLUMN folded_through INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET folded_through = (SELECT ifnull(max(sequence), 0) FROM event);
