-- What the replicas call: each is one transaction in one round trip. Made anew with every migration, so that a change
-- here comes with one. What is called from outside has the search path of its making, the journal's schema.

-- Of the server: a standby that is promoted begins another.
CREATE OR REPLACE FUNCTION timeline() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)
$$;

CREATE OR REPLACE FUNCTION fence() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'this replica was evicted, or has left' USING ERRCODE = 'LF001';
END
$$;

-- The lock conflicts with an eviction, and with nothing else: what this transaction writes is of before or never.
CREATE OR REPLACE FUNCTION require(me bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM replica r WHERE r.incarnation = me AND r.timeline = timeline() FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM fence();
    END IF;
END
$$;

-- Number and store events; see Database.append. The update of head is the gate: whoever waits for it holds nothing else.
CREATE OR REPLACE FUNCTION append(
    me bigint, number bigint,
    received_mss bigint[], ids text[], types text[], sources text[], subjects text[], times text[], kinds text[],
    accounts text[], changes text[], origins text[], datas bytea[],
    value_chats text[], value_keys text[], value_texts text[], value_accounts text[], value_server_mss bigint[],
    value_received_mss bigint[],
    session_accounts text[], session_states text[], session_ages_ms bigint[],
    chats text[], revisions bigint[],
    OUT through bigint, OUT newest bigint, OUT stale text[]
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    events bigint := cardinality(ids);
    batches bigint := least(cardinality(value_chats), 1);
    bytes bigint := 256 * events + coalesce((SELECT sum(octet_length(d)) FROM unnest(datas) AS d), 0);
    mine replica;
    is_new boolean;
BEGIN
    UPDATE head h SET last_sequence = h.last_sequence + events, revision = h.revision + batches,
                      event_bytes = h.event_bytes + bytes
        RETURNING h.last_sequence, h.revision INTO through, newest;
    UPDATE replica r SET batch_no = number, batch_sequence = through, batch_revision = newest, batch_stale = '{}'
        WHERE r.incarnation = me AND r.timeline = timeline() AND r.batch_no < number;
    is_new := FOUND;
    IF NOT is_new THEN
        -- A repetition is a write as well: its commit waits for standbys too, which that of the first may not have done.
        UPDATE replica r SET batch_no = r.batch_no WHERE r.incarnation = me AND r.timeline = timeline()
            RETURNING * INTO mine;
        IF NOT FOUND THEN
            PERFORM fence();
        ELSIF mine.batch_no > number THEN
            RAISE EXCEPTION 'append % comes after %', number, mine.batch_no USING ERRCODE = 'LN001';
        END IF;
        through := mine.batch_sequence;
        newest := mine.batch_revision;
        stale := mine.batch_stale;
    ELSE
        SELECT coalesce(array_agg(k.chat), '{}') INTO stale
            FROM unnest(chats, revisions) AS k (chat, revision)
            WHERE k.revision <> coalesce((SELECT max(v.revision) FROM last_value v WHERE v.chat_id = k.chat), 0);
        IF stale <> '{}' THEN
            is_new := false;
            through := 0;
            newest := newest - batches;
            UPDATE replica r SET batch_sequence = 0, batch_revision = newest, batch_stale = stale
                WHERE r.incarnation = me;
        END IF;
    END IF;
    IF NOT is_new THEN
        UPDATE head h SET last_sequence = h.last_sequence - events, revision = h.revision - batches,
                          event_bytes = h.event_bytes - bytes;
        RETURN;
    END IF;
    IF events > 0 THEN
        INSERT INTO event (sequence, received_ms, id, type, source, subject, time, kind, account, change, origin, data)
            SELECT through - events + n, e.received_ms, e.id, e.type, e.source, e.subject, e.time, e.kind, e.account,
                   e.change, e.origin, e.data
            FROM unnest(received_mss, ids, types, sources, subjects, times, kinds, accounts, changes, origins, datas)
                WITH ORDINALITY AS e (received_ms, id, type, source, subject, time, kind, account, change, origin, data, n);
    END IF;
    IF batches > 0 THEN
        INSERT INTO last_value AS v (chat_id, key, value, account, server_time_ms, received_ms, revision)
            SELECT *, newest
            FROM unnest(value_chats, value_keys, value_texts, value_accounts, value_server_mss, value_received_mss)
            ON CONFLICT (chat_id, key) DO UPDATE
            SET value = excluded.value, account = excluded.account, server_time_ms = excluded.server_time_ms,
                received_ms = excluded.received_ms, revision = excluded.revision;
    END IF;
    IF cardinality(session_accounts) > 0 THEN
        -- As old as it was when the call came: to wait for the gate makes no session younger.
        INSERT INTO session (account, state, seen_at)
            SELECT s.account, s.state, statement_timestamp() - s.age_ms * interval '1 millisecond'
            FROM unnest(session_accounts, session_states, session_ages_ms) AS s (account, state, age_ms)
            ON CONFLICT (account) DO UPDATE SET state = excluded.state, seen_at = excluded.seen_at;
    END IF;
    IF events > 0 AND EXISTS (SELECT FROM replica r WHERE r.incarnation <> me) THEN
        PERFORM pg_notify(current_schema(), through::text);
    END IF;
END
$$;

-- See Database.begin_above. Behind the gate: no append gets a sequence of the hole.
CREATE OR REPLACE FUNCTION begin_above(me bigint, known bigint, top bigint, from_ms bigint, to_ms bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    newest bigint;
BEGIN
    SELECT h.last_sequence INTO newest FROM head h FOR NO KEY UPDATE;
    PERFORM require(me);
    IF newest < known THEN
        INSERT INTO hole VALUES (newest + 1, top, from_ms, to_ms);
        UPDATE head h SET last_sequence = top;
        newest := top;
    END IF;
    RETURN newest;
END
$$;

CREATE OR REPLACE FUNCTION settle_losses(me bigint, tops bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM require(me);
    UPDATE hole h SET lost_from_ms = NULL, lost_to_ms = NULL WHERE h.last_sequence = ANY (tops);
END
$$;

CREATE OR REPLACE FUNCTION store_letters(
    sinks text[], sequences bigint[], event_ids text[], reasons text[], attempts bigint[], at_mss bigint[],
    answers text[], replayings boolean[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM dead_letter d USING unnest(sinks, sequences) AS l (sink, sequence)
        WHERE d.sink = l.sink AND d.sequence = l.sequence;
    INSERT INTO dead_letter (sink, sequence, event_id, reason, attempts, at_ms, answer, replaying,
                             received_ms, type, source, subject, time, kind, account, change, origin, data)
        SELECT l.*, e.received_ms, e.type, e.source, e.subject, e.time, e.kind, e.account, e.change, e.origin, e.data
        FROM unnest(sinks, sequences, event_ids, reasons, attempts, at_mss, answers, replayings)
            AS l (sink, sequence, event_id, reason, attempts, at_ms, answer, replaying)
        LEFT JOIN event e ON e.sequence = l.sequence;
END
$$;

CREATE OR REPLACE FUNCTION advance(
    me bigint, of_sink text, through bigint,
    sinks text[], sequences bigint[], event_ids text[], reasons text[], attempts bigint[], at_mss bigint[],
    answers text[], replayings boolean[]
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM require(me);
    INSERT INTO sink_cursor AS c (sink, sequence) VALUES (of_sink, through)
        ON CONFLICT (sink) DO UPDATE SET sequence = greatest(c.sequence, excluded.sequence);
    IF cardinality(sinks) > 0 THEN
        PERFORM store_letters(sinks, sequences, event_ids, reasons, attempts, at_mss, answers, replayings);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION settle_replays(
    me bigint, of_sink text, delivered bigint[],
    sequences bigint[], reasons text[], attempts bigint[], at_mss bigint[], answers text[]
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM require(me);
    DELETE FROM dead_letter d WHERE d.sink = of_sink AND d.sequence = ANY (delivered);
    UPDATE dead_letter d SET reason = l.reason, attempts = l.attempts, at_ms = l.at_ms, answer = l.answer,
                             replaying = false
        FROM unnest(sequences, reasons, settle_replays.attempts, at_mss, answers)
            AS l (sequence, reason, attempts, at_ms, answer)
        WHERE d.sink = of_sink AND d.sequence = l.sequence;
END
$$;

CREATE OR REPLACE FUNCTION store_lane_state(me bigint, of_sink text, new_state text) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF me IS NOT NULL THEN
        PERFORM require(me);
    END IF;
    INSERT INTO lane_state (sink, state) VALUES (of_sink, new_state)
        ON CONFLICT (sink) DO UPDATE SET state = excluded.state;
END
$$;

-- One step of retention: delete at most `step` of the oldest events, up to the first that is not done with by all of
-- keep_for, was received at or after before_ms (if given), or need not go for excess_of bytes (if given); returns how many.
CREATE OR REPLACE FUNCTION retain_events(me bigint, before_ms bigint, beyond_bytes bigint, keep_for text[], step bigint)
RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    first bigint;
    final bigint;
    stop bigint;
    deleted bigint;
    bytes bigint;
BEGIN
    PERFORM require(me);
    SELECT e.sequence INTO first FROM event e ORDER BY e.sequence LIMIT 1;
    SELECT least(h.last_sequence, first + step - 1), h.event_bytes - beyond_bytes INTO final, bytes FROM head h;
    SELECT least(final, min(coalesce(c.sequence, 0))) INTO final
        FROM unnest(keep_for) AS k (sink) LEFT JOIN sink_cursor c ON c.sink = k.sink;
    IF first IS NULL OR final < first OR bytes <= 0 THEN
        RETURN 0;
    END IF;
    IF before_ms IS NOT NULL THEN
        SELECT min(e.sequence) INTO stop FROM event e
            WHERE e.sequence BETWEEN first AND final AND e.received_ms >= before_ms;
        final := coalesce(stop - 1, final);
    END IF;
    IF beyond_bytes IS NOT NULL THEN
        SELECT min(s.sequence) INTO stop FROM (
            SELECT e.sequence, sum(256 + octet_length(e.data)) OVER (ORDER BY e.sequence) AS total
            FROM event e WHERE e.sequence BETWEEN first AND final
        ) s WHERE s.total >= bytes;
        final := coalesce(stop, final);
    END IF;
    WITH gone AS (
        DELETE FROM event e WHERE e.sequence BETWEEN first AND final RETURNING 256 + octet_length(e.data) AS size
    ) SELECT count(*), coalesce(sum(size), 0) INTO deleted, bytes FROM gone;
    IF deleted > 0 THEN
        UPDATE head h SET event_bytes = h.event_bytes - bytes;
    END IF;
    RETURN deleted;
END
$$;

-- Of `step` chats from `start` on, drop those not heard of since before_ms; returns the start of the next step. Behind
-- the gate: an append in between would lose the value that it has just stored.
CREATE OR REPLACE FUNCTION retain_values(me bigint, before_ms bigint, start text, step bigint) RETURNS text
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    found text[];
    silent text[];
BEGIN
    PERFORM FROM head FOR NO KEY UPDATE;
    PERFORM require(me);
    SELECT array_agg(c.chat_id ORDER BY c.chat_id) INTO found FROM (
        SELECT DISTINCT v.chat_id FROM last_value v WHERE v.chat_id >= start ORDER BY v.chat_id LIMIT step + 1
    ) c;
    SELECT array_agg(c.chat_id) INTO silent FROM (
        SELECT v.chat_id FROM last_value v WHERE v.chat_id = ANY (found[:step])
        GROUP BY v.chat_id HAVING max(v.received_ms) < before_ms
    ) c;
    DELETE FROM last_value v WHERE v.chat_id = ANY (silent);
    RETURN found[step + 1];
END
$$;

-- Replicas and duties -------------------------------------------------------------------------------------------------

-- The lock on membership, and the count of its changes one higher.
CREATE OR REPLACE FUNCTION change_membership() RETURNS void LANGUAGE sql AS $$
    UPDATE membership SET change = change + 1
$$;

-- Take the lock on membership; does not wait long, so that no beat hangs behind somebody who froze with it.
CREATE OR REPLACE FUNCTION lock_membership() RETURNS boolean LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
BEGIN
    PERFORM FROM membership FOR UPDATE;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;

-- End the connections of a replica: one that froze in the middle of a statement would hold its locks for ever. Needs
-- the same role, and works on direct connections, which carry the incarnation in their name.
CREATE OR REPLACE FUNCTION disconnect(victim bigint) RETURNS void LANGUAGE sql AS $$
    SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
    WHERE a.application_name = 'disposition-listener/' || victim AND a.datname = current_database()
        AND a.usename = current_user AND a.pid <> pg_backend_pid()
$$;

-- Remove a replica, and free what it has: all or nothing, and only with the lock on membership. Returns whether it is
-- gone now; it is not where `late_only` and it has beaten after all, or where one of its writes does not end.
CREATE OR REPLACE FUNCTION evict(victim bigint, late_only boolean) RETURNS boolean
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
BEGIN
    PERFORM FROM replica r WHERE r.incarnation = victim FOR UPDATE;
    DELETE FROM pulse p WHERE p.incarnation = victim AND (NOT late_only OR p.beat_at < clock_timestamp() - p.lease);
    IF NOT FOUND THEN
        RETURN NOT EXISTS (SELECT FROM replica r WHERE r.incarnation = victim);
    END IF;
    DELETE FROM replica r WHERE r.incarnation = victim;
    PERFORM free_duties(victim);
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;

CREATE OR REPLACE FUNCTION free_duties(gone bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM offer o WHERE o.incarnation = gone;
    UPDATE duty d SET owner = NULL, wanted = false WHERE d.owner = gone;
    PERFORM drop_duties();
    PERFORM change_membership();
END
$$;

-- A duty exists while somebody offers it or has it.
CREATE OR REPLACE FUNCTION drop_duties() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH gone AS (
        DELETE FROM duty d WHERE d.owner IS NULL AND NOT EXISTS (SELECT FROM offer o WHERE o.duty = d.name)
        RETURNING d.name
    ) DELETE FROM duty_report r USING gone WHERE r.duty = gone.name;
END
$$;

-- See Database.join. The incarnation is made of the time: counted ones would be used again by a standby that was
-- promoted without the last of them.
CREATE OR REPLACE FUNCTION join_replica(
    new_name text, software text, schema_version integer, lease_s double precision,
    OUT incarnation bigint, OUT last_sequence bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    victim bigint;
    now timestamptz;
BEGIN
    PERFORM change_membership();
    FOR victim IN SELECT r.incarnation FROM replica r WHERE r.name = new_name OR r.timeline <> timeline() LOOP
        PERFORM disconnect(victim);
        IF NOT evict(victim, false) THEN
            RAISE EXCEPTION 'replica % is in the middle of a write', victim USING ERRCODE = 'LB001';
        END IF;
    END LOOP;
    now := clock_timestamp();
    SELECT greatest((extract(epoch FROM now) * 1000000)::bigint, max(r.incarnation) + 1) INTO incarnation
        FROM replica r;
    INSERT INTO replica (incarnation, name, version, schema_version, timeline, joined_at)
        VALUES (join_replica.incarnation, new_name, software, schema_version, timeline(), now);
    INSERT INTO pulse (incarnation, lease, beat_at, steady_since)
        VALUES (join_replica.incarnation, lease_s * interval '1 second', now, now);
    SELECT h.last_sequence INTO last_sequence FROM head h;
END
$$;

-- With the lock on membership nobody is evicted, so that a look is enough.
CREATE OR REPLACE FUNCTION require_member(me bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM replica r WHERE r.incarnation = me AND r.timeline = timeline();
    IF NOT FOUND THEN
        PERFORM fence();
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION offer_duties(me bigint, names text[], kinds text[], only_names text[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM change_membership();
    PERFORM require_member(me);
    DELETE FROM offer o WHERE o.incarnation = me AND o.duty <> ALL (names);
    INSERT INTO offer AS o (duty, incarnation, only_name)
        SELECT n.name, me, n.only_name FROM unnest(names, only_names) AS n (name, only_name)
        ON CONFLICT (duty, incarnation) DO UPDATE SET only_name = excluded.only_name
        WHERE o.only_name IS DISTINCT FROM excluded.only_name;
    INSERT INTO duty (name, kind) SELECT n.name, n.kind FROM unnest(names, kinds) AS n (name, kind)
        ON CONFLICT (name) DO NOTHING;
    PERFORM drop_duties();
END
$$;

CREATE OR REPLACE FUNCTION release_duties(me bigint, names text[], epochs bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM change_membership();
    PERFORM require_member(me);
    UPDATE duty d SET owner = NULL, wanted = false FROM unnest(names, epochs) AS n (name, epoch)
        WHERE d.name = n.name AND d.epoch = n.epoch AND d.owner = me;
    PERFORM drop_duties();
END
$$;

CREATE OR REPLACE FUNCTION leave_replicas(me bigint) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM change_membership();
    PERFORM require_member(me);
    IF NOT evict(me, false) THEN
        RAISE EXCEPTION 'replica % is in the middle of a write', me USING ERRCODE = 'LB001';
    END IF;
END
$$;

-- What replicas that are not draining may do.
CREATE OR REPLACE VIEW candidate AS
    SELECT o.duty, o.incarnation FROM offer o
    JOIN replica r ON r.incarnation = o.incarnation
    JOIN pulse p ON p.incarnation = o.incarnation
    WHERE NOT p.draining AND (o.only_name IS NULL OR o.only_name = r.name);

-- Claim of what is free what `me` may do and nobody else could take: those in `full` have their share.
CREATE OR REPLACE FUNCTION claim_alone(me bigint, of_kind text, full_ones bigint[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    claimed bigint;
BEGIN
    UPDATE duty d SET owner = me, epoch = nextval('epoch'), wanted = false
        WHERE d.owner IS NULL AND d.kind = of_kind
        AND EXISTS (SELECT FROM candidate c WHERE c.duty = d.name AND c.incarnation = me)
        AND NOT EXISTS (
            SELECT FROM candidate c WHERE c.duty = d.name AND c.incarnation <> me AND c.incarnation <> ALL (full_ones)
        );
    GET DIAGNOSTICS claimed = ROW_COUNT;
    RETURN claimed;
END
$$;

-- All of them have to be looked at, so in no order.
CREATE OR REPLACE FUNCTION count_duties() RETURNS TABLE (kind text, owner bigint, duties bigint)
LANGUAGE plpgsql SET enable_seqscan = on AS $$
BEGIN
    RETURN QUERY SELECT d.kind, d.owner, count(*) FROM duty d GROUP BY d.kind, d.owner;
END
$$;

-- Claim what is free up to the share of each kind, and ask back what is above it and others have room for. Needs the
-- lock on membership; returns whether anything was claimed.
CREATE OR REPLACE FUNCTION share_out(me bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    active bigint;
    of_kind record;
    share bigint;
    mine bigint;
    claimed bigint;
    any_claimed boolean := false;
    full_ones bigint[];
    wanted_ones text[];
BEGIN
    IF (SELECT p.draining FROM pulse p WHERE p.incarnation = me) THEN
        UPDATE duty d SET wanted = true WHERE d.owner = me AND NOT d.wanted;
        RETURN false;
    END IF;
    SELECT count(*) INTO active FROM pulse p WHERE NOT p.draining AND p.beat_at >= clock_timestamp() - p.lease;
    FOR of_kind IN
        SELECT n.kind, sum(n.duties)::bigint AS total, array_agg(n.owner) AS owners, array_agg(n.duties) AS had,
               coalesce(sum(n.duties) FILTER (WHERE n.owner = me), 0)::bigint AS mine,
               coalesce(sum(n.duties) FILTER (WHERE n.owner IS NULL), 0)::bigint AS free
        FROM count_duties() n GROUP BY n.kind
    LOOP
        share := (of_kind.total + active - 1) / active;
        mine := of_kind.mine;
        SELECT coalesce(array_agg(o.owner), '{}') INTO full_ones
            FROM unnest(of_kind.owners, of_kind.had) AS o (owner, had) WHERE o.owner IS NOT NULL AND o.had >= share;
        IF of_kind.free > 0 THEN
            mine := mine + claim_alone(me, of_kind.kind, '{}');
            UPDATE duty d SET owner = me, epoch = nextval('epoch'), wanted = false
                WHERE d.name IN (
                    SELECT f.name FROM duty f
                    WHERE f.owner IS NULL AND f.kind = of_kind.kind
                    AND EXISTS (SELECT FROM candidate c WHERE c.duty = f.name AND c.incarnation = me)
                    ORDER BY f.name LIMIT greatest(share - mine, 0)
                );
            GET DIAGNOSTICS claimed = ROW_COUNT;
            mine := mine + claimed;
            mine := mine + claim_alone(me, of_kind.kind, full_ones);
            any_claimed := any_claimed OR mine > of_kind.mine;
        END IF;
        wanted_ones := '{}';
        IF mine > share THEN
            SELECT coalesce(array_agg(w.name), '{}') INTO wanted_ones FROM (
                SELECT d.name FROM duty d WHERE d.owner = me AND d.kind = of_kind.kind
                AND EXISTS (
                    SELECT FROM candidate c
                    WHERE c.duty = d.name AND c.incarnation <> me AND c.incarnation <> ALL (full_ones)
                )
                ORDER BY d.epoch LIMIT least(mine - share, 10)
            ) w;
        END IF;
        UPDATE duty d SET wanted = NOT d.wanted
            WHERE d.owner = me AND d.kind = of_kind.kind AND d.wanted <> (d.name = ANY (wanted_ones));
    END LOOP;
    RETURN any_claimed;
END
$$;

-- The break before this beat, if it was longer than half a lease, and the longest that is not longer ago than a lease:
-- by so much others may be later than their leases, since the same may have held them up.
CREATE OR REPLACE FUNCTION breaks(me bigint, now timestamptz, OUT gap interval, OUT pause interval) LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN now - p.beat_at > p.lease / 2 THEN now - p.beat_at ELSE '0' END,
           CASE WHEN p.paused_at BETWEEN now - p.lease AND now THEN p.pause ELSE '0' END
    FROM pulse p WHERE p.incarnation = me
$$;

-- See Database.beat. Nothing here waits for long: the row of pulse is locked by this replica's own beats and by an
-- eviction only; whoever froze with the lock on membership, or with its own rows, is disconnected once it is late.
CREATE OR REPLACE FUNCTION beat(
    me bigint, seen bigint, taken bigint[], own_report bytea, report_duties text[], reports bytea[],
    OUT duties text[], OUT epochs bigint[], OUT wanted_back text[],
    OUT order_numbers bigint[], OUT order_duties text[], OUT order_whats text[],
    OUT last_sequence bigint, OUT draining boolean, OUT others bigint
) LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    now timestamptz := clock_timestamp();
    mine pulse;
    victim bigint;
    locked boolean;
    present bigint;
BEGIN
    UPDATE pulse p
        SET steady_since = CASE WHEN now - p.beat_at BETWEEN interval '0' AND p.lease
                                THEN least(p.steady_since, now) ELSE now END,
            pause = greatest(b.gap, b.pause),
            paused_at = CASE WHEN b.gap > b.pause THEN now ELSE p.paused_at END,
            beat_at = now, report = coalesce(own_report, p.report)
        FROM replica r, breaks(me, now) b
        WHERE p.incarnation = me AND r.incarnation = me AND r.timeline = timeline()
        RETURNING p.* INTO mine;
    IF NOT FOUND THEN
        PERFORM fence();
    END IF;
    IF cardinality(report_duties) > 0 THEN
        INSERT INTO duty_report AS r (duty, incarnation, report)
            SELECT n.duty, me, n.report FROM unnest(report_duties, reports) AS n (duty, report)
            JOIN duty d ON d.name = n.duty AND d.owner = me
            ON CONFLICT (duty) DO UPDATE SET incarnation = excluded.incarnation, report = excluded.report;
    END IF;
    IF cardinality(taken) > 0 THEN
        DELETE FROM duty_order o WHERE o.number = ANY (taken);
    END IF;

    locked := lock_membership();
    IF locked THEN
        -- After the server's clock was set back, whoever has died since would be in time for ever.
        UPDATE pulse p SET beat_at = now WHERE p.incarnation IN (
            SELECT f.incarnation FROM pulse f WHERE f.beat_at > clock_timestamp() FOR UPDATE SKIP LOCKED
        );
    END IF;
    IF now - mine.steady_since >= mine.lease THEN
        FOR victim IN
            SELECT p.incarnation FROM pulse p
            WHERE p.incarnation <> me AND greatest(p.beat_at, pg_postmaster_start_time()) < now - p.lease - mine.pause
        LOOP
            PERFORM disconnect(victim);
            IF locked THEN
                PERFORM evict(victim, true);
            END IF;
        END LOOP;
    END IF;
    IF locked THEN
        SELECT m.change INTO present FROM membership m;
        IF present IS DISTINCT FROM mine.settled THEN
            IF share_out(me) THEN
                PERFORM change_membership();
            ELSE
                UPDATE pulse p SET settled = present WHERE p.incarnation = me;
            END IF;
        END IF;
    END IF;

    SELECT coalesce(array_agg(g.name ORDER BY g.epoch), '{}'), coalesce(array_agg(g.epoch ORDER BY g.epoch), '{}')
        INTO duties, epochs
        FROM (SELECT d.name, d.epoch FROM duty d WHERE d.owner = me AND d.epoch > seen ORDER BY d.epoch LIMIT 1001) g;
    SELECT coalesce(array_agg(w.name ORDER BY w.name), '{}') INTO wanted_back
        FROM (SELECT d.name FROM duty d WHERE d.owner = me AND d.wanted ORDER BY d.name LIMIT 1000) w;
    SELECT coalesce(array_agg(o.number ORDER BY o.number), '{}'), coalesce(array_agg(o.duty ORDER BY o.number), '{}'),
           coalesce(array_agg(o.what ORDER BY o.number), '{}')
        INTO order_numbers, order_duties, order_whats
        FROM (SELECT o.* FROM duty_order o JOIN duty d ON d.name = o.duty AND d.owner = me ORDER BY o.number LIMIT 100) o;
    SELECT h.last_sequence INTO last_sequence FROM head h;
    SELECT p.draining INTO draining FROM pulse p WHERE p.incarnation = me;
    SELECT count(*) INTO others FROM pulse p
        WHERE p.incarnation <> me AND NOT p.draining AND p.beat_at >= now - p.lease;
END
$$;

CREATE OR REPLACE FUNCTION drain_replica(of_name text, is_draining boolean) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM change_membership();
    UPDATE pulse p SET draining = is_draining FROM replica r WHERE r.incarnation = p.incarnation AND r.name = of_name;
    RETURN FOUND;
END
$$;

-- Returns the name of the replica that has the duty now. An order that is there already takes the newest number: the
-- owner may be carrying out the old one.
CREATE OR REPLACE FUNCTION leave_order(of_duty text, new_what text) RETURNS text LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM duty_order o WHERE o.duty = of_duty AND o.what = new_what;
    INSERT INTO duty_order (duty, what) VALUES (of_duty, new_what);
    RETURN (SELECT r.name FROM duty d JOIN replica r ON r.incarnation = d.owner WHERE d.name = of_duty);
END
$$;

-- Keeps dead_letter_count.
CREATE OR REPLACE FUNCTION count_letters() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO dead_letter_count AS c (sink, letters)
        SELECT t.sink, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END FROM touched t
        GROUP BY t.sink ORDER BY t.sink
        ON CONFLICT (sink) DO UPDATE SET letters = c.letters + excluded.letters;
    RETURN NULL;
END
$$;
DROP TRIGGER IF EXISTS dead_letters_added ON dead_letter;
CREATE TRIGGER dead_letters_added AFTER INSERT ON dead_letter
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_letters();
DROP TRIGGER IF EXISTS dead_letters_removed ON dead_letter;
CREATE TRIGGER dead_letters_removed AFTER DELETE ON dead_letter
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_letters();
