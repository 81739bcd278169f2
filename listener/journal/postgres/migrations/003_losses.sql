-- least: 1
-- What is new is a function, begin_above.
COMMENT ON TABLE hole IS 'Sequences that no event has: of a damaged file that was copied, and of events that are lost.';
