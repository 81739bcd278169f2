-- least: 1
-- A loss is pending until its gaps are on record: what is lost may have come in this stretch (epoch milliseconds).
ALTER TABLE hole ADD COLUMN lost_from_ms bigint, ADD COLUMN lost_to_ms bigint;
