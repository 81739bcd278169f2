"""Frozen values without I/O: events, their forms, filters, and what the daemon tells of itself."""
