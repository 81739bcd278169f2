-- What of a batch above ack is durable: a JSON array of [events, bytes, digest].
ALTER TABLE session ADD COLUMN taken TEXT NOT NULL DEFAULT '[]';
