"""One account's facts become durable events: received, classified, recorded, and reconciled with a re-read."""
