"""The daemon: builds every part from the configuration, runs, reloads and stops them; and what works without it.

A command finds the daemon through `<journal>.control` (mode 0600, made once the journal's lock is held) and sends one
JSON object a line. If no daemon runs, `offline.py` owns the journal for that moment. Commands that
only read the journal use `journal/views.py`.
"""
