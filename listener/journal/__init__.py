"""The durable store: `sqlite` on one machine; `shared` for replicas, over the database that `postgres` is.

`tail.py`, the memory of the newest events, serves both.
"""
