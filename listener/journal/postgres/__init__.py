"""The database of a shared journal on PostgreSQL (asyncpg, the extra `postgres`)."""
