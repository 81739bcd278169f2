"""The daemon: builds every part from the configuration, runs, reloads and ends it; and what is asked without one.

A command finds the daemon through `<journal>.control` (mode 0600, made once the journal's lock is held) and sends one
JSON object a line. Where no daemon runs, `offline.py` owns the journal for that moment. A command that only looks
at the journal does neither: it reads through `journal/sqlite/views.py`. A replica has no such socket: whoever reaches
the database asks there, from any host, and leaves orders for the replica that they concern.
"""
