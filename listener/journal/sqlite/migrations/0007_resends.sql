-- What is to be delivered again: the events above resend_after, up to resend_through.
ALTER TABLE lane_state ADD COLUMN resend_after INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lane_state ADD COLUMN resend_through INTEGER NOT NULL DEFAULT 0;
