"""Turns one account's facts into durable events: receives, classifies, records and reconciles them.

`docs/cometd.md` says when a gap is recorded, when the chats are read again, and how repetitions are recognised.
"""
