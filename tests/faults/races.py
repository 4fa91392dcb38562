"""What races for money need: a price, and a witness in the database of every moment."""

import sqlite3
from contextlib import closing

import asyncpg

from tests.rig.world import World

_WATCH_SQLITE = (
    "CREATE TABLE overdrawn (used INTEGER)",
    "CREATE TRIGGER watch AFTER UPDATE ON budgets"
    " WHEN NEW.reserved_pico + NEW.spent_pico > NEW.limit_pico"
    " BEGIN INSERT INTO overdrawn VALUES (NEW.reserved_pico + NEW.spent_pico); END",
)
_WATCH_POSTGRES = (
    "CREATE TABLE overdrawn (used BIGINT)",
    "CREATE FUNCTION note_overdrawn() RETURNS trigger AS $$ BEGIN"
    " IF NEW.reserved_pico + NEW.spent_pico > NEW.limit_pico THEN"
    " INSERT INTO overdrawn VALUES (NEW.reserved_pico + NEW.spent_pico); END IF; RETURN NEW; END"
    " $$ LANGUAGE plpgsql",
    "CREATE TRIGGER watch AFTER UPDATE ON budgets FOR EACH ROW EXECUTE FUNCTION note_overdrawn()",
)


async def execute(world: World, *statements: str) -> list[tuple[object, ...]]:
    """Speak to the database behind the product's back; return the rows of the last statement."""
    rows: list[tuple[object, ...]] = []
    if "postgresql" not in world.store:
        with closing(sqlite3.connect(world.store, timeout=30)) as connection, connection:
            for statement in statements:
                rows = connection.execute(statement).fetchall()
        return rows
    connection = await asyncpg.connect(world.store.replace("+asyncpg", ""))
    try:
        for statement in statements:
            rows = [tuple(row.values()) for row in await connection.fetch(statement)]
    finally:
        await connection.close()
    return rows


async def set_price(world: World, model: str, usd: str) -> None:
    """Let a million tokens of a model cost so much, in and out."""
    await execute(
        world, f"INSERT INTO prices VALUES ('{model}', '{usd}', '{usd}', '{usd}', 't', 1)"
    )


async def watch_budgets(world: World) -> None:
    """Have the database note every moment at which more was held and spent than there was."""
    is_postgres = "postgresql" in world.store
    await execute(world, *(_WATCH_POSTGRES if is_postgres else _WATCH_SQLITE))


async def overdrawn(world: World) -> list[tuple[object, ...]]:
    """Return what was noted."""
    return await execute(world, "SELECT used FROM overdrawn")
