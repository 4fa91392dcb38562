"""Rates of providers as token buckets in the store: one for all workers."""

from collections.abc import Mapping

from adapters.store.database.tx import Tx
from adapters.store.spending import waits
from domain.step import Withheld

_MINUTE_MS = 60_000
_MILLI = 1000
_TOKENS = ":tokens"


def take(
    tx: Tx,
    model: str,
    tokens: int,
    per_minute: Mapping[str, int],
    now: int,
    waiter: str | None = None,
) -> Withheld | None:
    """Take one request and its tokens out of the buckets of a model; say so if they lack.

    Nothing is taken then. A call larger than a whole bucket waits for a full one. Who asks first
    has it first: a `waiter` that comes back keeps its place, one that does not loses it.
    """
    wanted = _wanted(model, tokens, per_minute)
    levels = {}
    for name, amount in wanted.items():
        rate = per_minute[name]
        level = _level(tx, name, rate, now)
        need = min(amount, rate) * _MILLI
        lacks = need + waits.ahead_of(tx, name, waiter, now) - level
        if lacks > 0:
            wait = max(1, -(-lacks * _MINUTE_MS // (rate * _MILLI)))
            if waiter is not None:
                waits.stand(tx, name, waiter, need, now, wait)
            said = f"the rate of {name} ({rate} a minute) is used up"
            return Withheld("model_rate_limited", said, wait, now + wait)
        levels[name] = level - amount * _MILLI
    for name, level in levels.items():
        _put(tx, name, level, now)
    if waiter is not None and levels:
        waits.leave(tx, waiter)
    return None


def give_back(tx: Tx, model: str, tokens: int, per_minute: Mapping[str, int], now: int) -> None:
    """Put tokens back that a call had taken and did not use: it takes what it might need."""
    for name, amount in _wanted(model, tokens, per_minute).items():
        if name.endswith(_TOKENS) and amount > 0:
            rate = per_minute[name]
            level = min(rate * _MILLI, _level(tx, name, rate, now) + amount * _MILLI)
            _put(tx, name, level, now)


def _wanted(model: str, tokens: int, per_minute: Mapping[str, int]) -> dict[str, int]:
    provider = model.partition("/")[0]
    amounts = {
        f"{name}:{what}": amount
        for name in (provider, model)
        for what, amount in (("requests", 1), ("tokens", tokens))
    }
    return {name: amounts[name] for name in sorted(amounts) if name in per_minute}


def _level(tx: Tx, name: str, rate: int, now: int) -> int:
    row = tx.one(f"SELECT * FROM rate_buckets WHERE name = :name{tx.lock}", name=name)
    full = rate * _MILLI
    if row is None:
        # So that there is a row to lock; another worker may have made it just now.
        tx.run(
            "INSERT INTO rate_buckets (name, level_milli, updated_at) VALUES (:name, :level, :now)"
            " ON CONFLICT (name) DO NOTHING",
            name=name,
            level=full,
            now=now,
        )
        row = tx.one(f"SELECT * FROM rate_buckets WHERE name = :name{tx.lock}", name=name)
        assert row is not None
    gained = max(0, now - row["updated_at"]) * full // _MINUTE_MS
    return int(min(full, row["level_milli"] + gained))


def _put(tx: Tx, name: str, level: int, now: int) -> None:
    tx.run(
        "UPDATE rate_buckets SET level_milli = :level, updated_at = :now WHERE name = :name",
        level=level,
        now=now,
        name=name,
    )
