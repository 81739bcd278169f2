-- What tells and changes the version of a schema, before its functions are there.

-- name: version
SELECT version, least FROM disposition_listener.schema_version

-- name: oldest
SELECT min(schema_version) FROM disposition_listener.replica

-- name: table
CREATE TABLE disposition_listener.schema_version (version integer NOT NULL, least integer NOT NULL)

-- name: row
INSERT INTO disposition_listener.schema_version VALUES (0, 0)

-- name: reached
UPDATE disposition_listener.schema_version SET version = $1, least = greatest(least, $2)
