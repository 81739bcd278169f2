-- What a supervisor had heard of its team: a JSON array of one TeamState, empty of an agent.
ALTER TABLE session ADD COLUMN team TEXT NOT NULL DEFAULT '[]';
