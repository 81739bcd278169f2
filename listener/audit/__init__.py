"""The audit trail, read back: what the file sink has written, for who has to answer questions about it."""
