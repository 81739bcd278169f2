"""The daemon: every part built from the configuration, run, reloaded, and ended; what is asked without one, too.

A command finds the daemon through `<journal>.control` (mode 0600, made once the journal's lock is held) and sends one
JSON object a line. Where no daemon runs, `offline.py` owns the journal for that moment. Looking at the journal is no
order: it goes through `journal/views.py`.
"""
