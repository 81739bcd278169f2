-- What a copy asks beside the statements of queries.sql, by name; :meant as there.

-- name: copied_rows
SELECT (SELECT count(*) FROM disposition_listener.event) + (SELECT count(*) FROM disposition_listener.last_value)
     + (SELECT count(*) FROM disposition_listener.dead_letter)

-- name: values_behind
SELECT chat_id, key, value, account, server_time_ms, received_ms, revision
FROM disposition_listener.last_value WHERE :meant ORDER BY chat_id, key LIMIT $1

-- name: letters_behind
SELECT sink, sequence, event_id, reason, attempts, at_ms, answer, replaying,
       sequence, received_ms, event_id, type, source, subject, time, kind, account, change, origin, data
FROM disposition_listener.dead_letter WHERE :meant ORDER BY sequence, sink LIMIT $1

-- name: holes
SELECT first_sequence, last_sequence FROM disposition_listener.hole ORDER BY first_sequence

-- name: living
SELECT r.incarnation, r.name, extract(epoch FROM clock_timestamp() - p.beat_at)::double precision AS age_s,
       p.beat_at > clock_timestamp() - greatest($1 * interval '1 second', 3 * p.lease) AS lives
FROM disposition_listener.replica r JOIN disposition_listener.pulse p ON p.incarnation = r.incarnation ORDER BY r.name

-- name: restore_sessions
INSERT INTO disposition_listener.session (account, state, seen_at)
SELECT s.account, s.state, clock_timestamp() - s.age_ms * interval '1 millisecond'
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS s (account, state, age_ms)

-- name: restore_head
UPDATE disposition_listener.head
SET last_sequence = $1, revision = 1,
    event_bytes = (SELECT coalesce(sum(256 + octet_length(data)), 0) FROM disposition_listener.event)
