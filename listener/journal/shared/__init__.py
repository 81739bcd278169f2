"""The journal that replicas share: everything about it but how its database is asked.

`SharedJournal` is a `ports.Journal`, `Membership` a `ports.Duties`; both ask a `Database`, which is PostgreSQL
(`listener.journal.postgres`) or, in tests and simulation, `listener.testing.MemoryDatabase`.
"""

from listener.journal.shared.journal import SharedJournal
from listener.journal.shared.membership import Membership

__all__ = ["Membership", "SharedJournal"]
