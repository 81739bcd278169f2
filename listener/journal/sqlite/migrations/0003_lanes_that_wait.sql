-- A lane that is disabled stays parked over restarts; one that was told when to come again waits for it over restarts.
ALTER TABLE lane_state ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lane_state ADD COLUMN quiet_from_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lane_state ADD COLUMN quiet_until_ms INTEGER NOT NULL DEFAULT 0;
