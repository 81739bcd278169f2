"""One account's facts become durable events: received, classified, recorded, and reconciled with a re-read.

`docs/cometd.md` says when a gap is recorded, when the chats are read again, and how repetitions are recognised.
"""
