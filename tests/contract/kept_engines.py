"""Engines on PostgreSQL that stay between tests, each on a database of its own.

A new connection reads the catalogue of every table that it meets first, and it and a new engine
know no statement yet: that would be most of what a test costs.
"""

import asyncio
from collections.abc import Callable

from adapters.store.database.postgres import PostgresEngine
from adapters.store.database.urls import Database, PostgresUrl
from domain.event import StoredEvent

OnCommit = Callable[[list[StoredEvent]], None]


class KeptEngine(PostgresEngine):
    """An engine that serves one test after the other, on a server that is always there."""

    def __init__(self, database: PostgresUrl, on_commit: OnCommit) -> None:
        super().__init__(database.url, on_commit)
        self.database = database

    def serve(self, on_commit: OnCommit) -> None:
        """Begin a test: its viewers are told of what is committed."""
        self._on_commit = on_commit

    async def is_at_rest(self) -> bool:
        """Wait for what the test has left at work; True: nothing of the test is left."""
        try:
            async with asyncio.timeout(1):
                while others := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.wait(others)
        except TimeoutError:
            return False
        return not (self._is_closed or self._to_notify or self.connections_in_use)


class KeptEngines:
    """At most one engine a database, while no test uses it."""

    def __init__(self) -> None:
        self._idle: dict[PostgresUrl, KeptEngine] = {}

    def take(self, database: Database, on_commit: OnCommit) -> KeptEngine:
        assert isinstance(database, PostgresUrl)
        engine = self._idle.pop(database, None) or KeptEngine(database, on_commit)
        engine.serve(on_commit)
        return engine

    async def give_back(self, engine: object) -> None:
        """Keep an engine; one that its test closed, or left at work, is closed for good."""
        assert isinstance(engine, KeptEngine)
        if await engine.is_at_rest():
            self._idle[engine.database] = engine
        else:
            await engine.close()

    async def drop(self, database: PostgresUrl) -> None:
        """Close the engine of a database that will not be used again."""
        if database in self._idle:
            await self._idle.pop(database).close()

    async def close(self) -> None:
        for database in list(self._idle):
            await self.drop(database)
