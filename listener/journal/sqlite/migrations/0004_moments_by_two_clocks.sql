-- A session was last seen at a moment that the monotonic clock tells too, as long as the machine is not started again.
ALTER TABLE session ADD COLUMN seen_monotonic_ms INTEGER;
ALTER TABLE session ADD COLUMN boot TEXT NOT NULL DEFAULT '';
