"""Frozen values in which the daemon tells of its own condition."""

import msgspec


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """Since when (epoch milliseconds) the configuration is in force, and why a later one is not."""

    loaded_ms: int
    refused_ms: int | None = None
    problems: tuple[str, ...] = ()


class ReadinessProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps the daemon from its whole work.

    `full` is for who may see everything; `brief` says which part it is without a word of an agent, a customer or a
    server: an account goes by its place in the configuration.
    """

    brief: str
    full: str
