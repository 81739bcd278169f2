-- The statements, by name. The schema is replaced by the one that is configured, :meant by conditions.

-- name: read
SELECT sequence, received_ms, id, type, source, subject, time, kind, account, change, origin, data
FROM disposition_listener.event WHERE sequence > $1 ORDER BY sequence LIMIT $2

-- name: last_sequence
SELECT last_sequence FROM disposition_listener.head

-- name: last_values
SELECT chat_id, key, value, account, server_time_ms, received_ms, revision
FROM disposition_listener.last_value WHERE chat_id = ANY ($1::text[]) ORDER BY chat_id, key

-- name: sessions
SELECT state, (extract(epoch FROM clock_timestamp() - seen_at) * 1000)::bigint AS age_ms
FROM disposition_listener.session WHERE $1::text[] IS NULL OR account = ANY ($1) ORDER BY account

-- name: cursors
SELECT sink, sequence FROM disposition_listener.sink_cursor ORDER BY sink

-- name: lane_states
SELECT state FROM disposition_listener.lane_state ORDER BY sink

-- name: letters
SELECT sink, sequence, event_id, reason, attempts, at_ms, answer, replaying
FROM disposition_listener.dead_letter WHERE :meant ORDER BY at_ms, sequence, sink

-- name: letter_groups
SELECT sink, reason, count(*) AS count, min(sequence) AS first_sequence, max(sequence) AS last_sequence,
       min(at_ms) AS first_ms, max(at_ms) AS last_ms, count(*) FILTER (WHERE replaying) AS replaying
FROM (SELECT * FROM disposition_listener.dead_letter WHERE :meant ORDER BY sequence DESC LIMIT 50000) newest
GROUP BY sink, reason ORDER BY 3 DESC, 1, 2 LIMIT 1000

-- name: mark_letters
WITH marked AS (
    UPDATE disposition_listener.dead_letter SET replaying = true WHERE data IS NOT NULL AND :meant RETURNING sink
), ordered AS (
    SELECT disposition_listener.leave_order('lane/' || sink, 'replay') FROM (SELECT DISTINCT sink FROM marked) sinks
)
SELECT (SELECT count(*) FROM marked) AS letters, (SELECT count(*) FROM ordered) AS orders

-- name: drop_letters
WITH dropped AS (DELETE FROM disposition_listener.dead_letter WHERE :meant RETURNING sink)
SELECT count(*) FROM dropped

-- name: last_of_page
SELECT max(sequence) FROM (
    SELECT sequence FROM disposition_listener.dead_letter WHERE :meant ORDER BY sequence LIMIT $1
) page

-- name: page
SELECT sink, sequence, event_id, reason, attempts, at_ms, answer, replaying,
       sequence, received_ms, event_id, type, source, subject, time, kind, account, change, origin, data
FROM disposition_listener.dead_letter WHERE :meant ORDER BY sequence, sink

-- name: any_letter
SELECT EXISTS (SELECT FROM disposition_listener.dead_letter WHERE :meant)

-- name: replays
SELECT sequence, received_ms, event_id, type, source, subject, time, kind, account, change, origin, data
FROM disposition_listener.dead_letter WHERE replaying AND data IS NOT NULL AND sink = $1 ORDER BY sequence LIMIT $2

-- name: letter_counts
SELECT sink, letters FROM disposition_listener.dead_letter_count WHERE letters > 0

-- name: figures
SELECT last_sequence,
       (SELECT sequence FROM disposition_listener.event ORDER BY sequence LIMIT 1) AS first_sequence,
       (SELECT received_ms FROM disposition_listener.event ORDER BY sequence LIMIT 1) AS oldest_ms,
       (SELECT coalesce(array_agg(ARRAY[h.first_sequence, h.last_sequence]), '{}')
        FROM disposition_listener.hole h) AS holes,
       (SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
        WHERE relnamespace = 'disposition_listener'::regnamespace AND relkind = 'r') AS bytes
FROM disposition_listener.head

-- name: floor
SELECT min(sequence) FROM (
    SELECT sequence FROM disposition_listener.event WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2
) looked_at

-- name: deciding
SELECT sequence, account, data FROM disposition_listener.event
WHERE sequence >= $1 AND sequence < $2 AND :meant ORDER BY sequence DESC LIMIT $3

-- name: columns
SELECT sequence FROM disposition_listener.event
WHERE sequence >= $1 AND sequence < $2 AND :meant ORDER BY sequence DESC LIMIT $3

-- name: found
SELECT sequence, received_ms, id, type, source, subject, time, kind, account, change, origin, data
FROM disposition_listener.event WHERE sequence = ANY ($1::bigint[]) ORDER BY sequence DESC

-- name: edge
SELECT received_ms, EXISTS (SELECT FROM disposition_listener.event WHERE sequence < $1) AS more
FROM disposition_listener.event WHERE sequence = $1

-- name: event_bytes
SELECT event_bytes FROM disposition_listener.head

-- name: retain_events
SELECT disposition_listener.retain_events($1, $2, $3, $4, $5)

-- name: retain_values
SELECT disposition_listener.retain_values($1, $2, $3, $4)

-- name: append
-- Ages are of when the call was made, at $25 by this clock, or a little before; so much older they have become on the way.
SELECT through, newest, stale FROM disposition_listener.append(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
    ARRAY(
        SELECT a.age_ms + greatest(0, ceil(extract(epoch FROM statement_timestamp()) * 1000)::bigint - $25::bigint)
        FROM unnest($22::bigint[]) WITH ORDINALITY AS a (age_ms, n) ORDER BY a.n
    ),
    $23, $24
)

-- name: begin_above
SELECT disposition_listener.begin_above($1, $2, $3, $4, $5)

-- name: losses
SELECT last_sequence, lost_from_ms, lost_to_ms FROM disposition_listener.hole
WHERE lost_from_ms IS NOT NULL ORDER BY last_sequence

-- name: settle_losses
SELECT disposition_listener.settle_losses($1, $2)

-- name: advance
SELECT disposition_listener.advance($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- name: settle_replays
SELECT disposition_listener.settle_replays($1, $2, $3, $4, $5, $6, $7, $8)

-- name: store_lane_state
SELECT disposition_listener.store_lane_state($1, $2, $3)

-- name: join
SELECT incarnation, last_sequence FROM disposition_listener.join_replica($1, $2, $3, $4)

-- name: offer
SELECT disposition_listener.offer_duties($1, $2, $3, $4)

-- name: beat
SELECT *, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS clock_ms
FROM disposition_listener.beat($1, $2, $3, $4, $5, $6)

-- name: release
SELECT disposition_listener.release_duties($1, $2, $3)

-- name: leave
SELECT disposition_listener.leave_replicas($1)

-- name: replicas
SELECT r.name, r.incarnation, r.version, (extract(epoch FROM r.joined_at) * 1000)::bigint AS joined_ms, p.report,
       greatest(extract(epoch FROM clock_timestamp() - p.beat_at), 0)::double precision AS beat_age_s,
       CASE WHEN p.beat_at < clock_timestamp() - p.lease THEN 'late' WHEN p.draining THEN 'draining' ELSE 'alive' END
           AS state,
       count(*) FILTER (WHERE d.kind = 'account') AS accounts, count(*) FILTER (WHERE d.kind = 'lane') AS lanes,
       count(*) FILTER (WHERE d.kind = 'housekeeping') > 0 AS housekeeping
FROM disposition_listener.replica r
JOIN disposition_listener.pulse p ON p.incarnation = r.incarnation
LEFT JOIN disposition_listener.duty d ON d.owner = r.incarnation
GROUP BY r.incarnation, p.incarnation ORDER BY r.name

-- name: duties
SELECT d.name AS duty, r.name AS replica, d.epoch, coalesce(t.report, '') AS report
FROM disposition_listener.duty d
LEFT JOIN disposition_listener.replica r ON r.incarnation = d.owner
LEFT JOIN disposition_listener.duty_report t ON t.duty = d.name AND t.incarnation = d.owner
ORDER BY d.name

-- name: drain
SELECT disposition_listener.drain_replica($1, $2)

-- name: order
SELECT disposition_listener.leave_order($1, $2)

