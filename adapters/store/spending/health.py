"""Circuit breakers per model, shared by all workers and kept across restarts. Source: seed A."""

from collections.abc import Sequence

from adapters.store.database.tx import Row, Tx
from domain.spending import BreakerRules, ModelHealth
from domain.step import CallBill, Withheld

ERROR_CLASSES = {
    "model_rate_limited": "rate_limited",
    "model_unavailable": "server_error",
    "model_timeout": "timeout",
    "stream_incomplete": "server_error",
    "malformed_reply": "server_error",
    "model_auth": "auth_error",
}
"""Failures that say something of the model, and under which name. Source: seed A."""
_NEVER = 2**31 - 1
"""As many failures as the database can count."""
_FRESH_MS = 60_000
_SOON_MS = 1000
"""How soon whoever waits for a circuit looks at it again, at the soonest."""
_TRIED_SHARE = 5
"""Of the time that a probe has taken: those that wait look again after a fifth of it."""
_SILENT_SHARE = 30
"""Of the time since the model last answered: a long outage is looked at less often."""
_APART_MS = 25
"""Between two looks of those that wait for the same circuit."""
_NEXT_PLACE = (
    "INSERT INTO rate_buckets (name, level_milli, updated_at) VALUES (:name, 0, :soon)"
    " ON CONFLICT (name) DO UPDATE SET updated_at = CASE"
    " WHEN rate_buckets.updated_at + :apart <= :soon THEN excluded.updated_at"
    " WHEN rate_buckets.updated_at + :apart >= :until THEN :until"
    " ELSE rate_buckets.updated_at + :apart END RETURNING updated_at"
)
"""A bucket of looks at a circuit: `updated_at` is the last one that was promised."""
_NOTE = (
    "INSERT INTO model_health (model, failures, open_until, blocked_until, error_class,"
    " error_message, last_failed_at, updated_at) VALUES (:model, 1, :open_first, :blocked, :class,"
    " :message, :now, :now) ON CONFLICT (model) DO UPDATE SET failures = model_health.failures + 1,"
    " open_until = CASE WHEN model_health.failures + 1 >= :most THEN :open"
    " ELSE model_health.open_until END, blocked_until = CASE"
    " WHEN coalesce(model_health.blocked_until, 0) > coalesce(excluded.blocked_until, 0)"
    " THEN model_health.blocked_until ELSE excluded.blocked_until END, probe_until = NULL,"
    " error_class = :class, error_message = :message, last_failed_at = :now, updated_at = :now"
)


def check(
    tx: Tx, model: str, caller: str, rules: BreakerRules, now: int, *, waits: bool = False
) -> Withheld | None:
    """Say why a model may not be asked now. After a cool-down, whoever may ask is the probe.

    `caller` names the call, over all its attempts. One that `waits` comes back when it is told to,
    which is well before its time is over: the circuit may close at any moment.
    """
    row = _read(tx, model)
    if row is None:
        return None
    if row["blocked_until"] is not None and row["blocked_until"] > now:
        said = f"{model} asked for no more requests for now"
        until = row["blocked_until"]
        return Withheld("model_rate_limited", said, until - now, until)
    if not rules.failures or not _is_shut(row):
        return None
    if row["open_until"] <= now:
        if _may_probe(tx, model, caller, rules, now):
            return None
        row = _read(tx, model)  # whoever probes has written to it since
        if row is None or not _is_shut(row):
            return None
    return _held(tx, row, rules, now, waits)


def _read(tx: Tx, model: str) -> Row | None:
    return tx.one("SELECT * FROM model_health WHERE model = :model", model=model)


def _is_shut(row: Row) -> bool:
    """Whether a model failed too often and has not answered since."""
    return row["open_until"] is not None


def _may_probe(tx: Tx, model: str, caller: str, rules: BreakerRules, now: int) -> bool:
    is_probe = tx.run(
        "UPDATE model_health SET probe_until = :until, probe_by = :caller WHERE model = :model"
        " AND (probe_until IS NULL OR probe_until <= :now OR probe_by = :caller)"
        " AND open_until <= :now",
        until=now + rules.cooldown_ms,
        caller=caller,
        model=model,
        now=now,
    )
    return bool(is_probe)


def _held(tx: Tx, row: Row, rules: BreakerRules, now: int, waits: bool) -> Withheld:
    """Say how long a circuit keeps its model's calls back, and when to look at it again."""
    is_open = row["open_until"] > now
    until = max(now + 1, row["open_until"] if is_open else row["probe_until"] or now)
    then = f"it is asked again in {(until - now) / 1000:.0f} s" if is_open else "one call tries it"
    said = (
        f"{row['model']} failed {row['failures']} times in a row, the last time with"
        f" {row['error_class']}; {then}"
    )
    soon = min(until, now + _look_after(row, rules, until, now))
    if waits:
        soon = _place(tx, row["model"], soon, until)
    elif is_open:
        soon = until
    return Withheld("circuit_open", said, soon - now, until)


def _look_after(row: Row, rules: BreakerRules, until: int, now: int) -> int:
    """Return after how many milliseconds a shut circuit is worth another look."""
    if row["open_until"] <= now:
        tried = now - (until - rules.cooldown_ms)
        return max(_SOON_MS, tried // _TRIED_SHARE)
    if row["last_ok_at"] is None:
        return rules.cooldown_ms
    # Calls that were under way when the model failed may still close it.
    silent = int(now - row["last_ok_at"])
    return max(_SOON_MS, silent // _SILENT_SHARE)


def _place(tx: Tx, model: str, soon: int, until: int) -> int:
    """Return when one of many that wait looks again: not before `soon`, not after `until`.

    The next one is told a little later: a thousand waiting runs do not ask all at once.
    """
    if soon >= until:
        return until
    row = tx.one(_NEXT_PLACE, name=f"{model}:circuit", soon=soon, until=until, apart=_APART_MS)
    assert row is not None
    return int(row["updated_at"])


def note_failure(tx: Tx, caller: str, bill: CallBill, rules: BreakerRules, now: int) -> None:
    """Count a failure that says something of the model; enough of them open its circuit."""
    error, model, wait = bill.error or {}, bill.model, bill.retry_after_ms
    error_class = ERROR_CLASSES.get(error.get("code", ""))
    if error_class is None:
        free_probe(tx, model, caller)
        return
    until, most = now + rules.cooldown_ms, rules.failures
    tx.run(
        _NOTE,
        model=model,
        most=min(most or _NEVER, _NEVER),
        open=until,
        open_first=until if most == 1 else None,
        blocked=now + wait if wait else None,
        message=error["message"][:500],
        now=now,
        **{"class": error_class},
    )


def free_probe(tx: Tx, model: str, caller: str) -> None:
    """Let the next call be the probe, if this one was: it ended without saying anything."""
    tx.run(
        "UPDATE model_health SET probe_until = NULL WHERE model = :model AND probe_by = :caller"
        " AND probe_until IS NOT NULL",
        model=model,
        caller=caller,
    )


def note_success(tx: Tx, model: str, now: int) -> None:
    """Note that a model answered, and close its circuit.

    While it is well its row is written once a minute: every call of a busy model comes by here.
    """
    noted = tx.run(
        "UPDATE model_health SET failures = 0, open_until = NULL,"
        " probe_until = NULL, last_ok_at = :now, updated_at = :now WHERE model = :model"
        " AND (failures > 0 OR open_until IS NOT NULL OR coalesce(last_ok_at, 0) <= :stale)",
        model=model,
        now=now,
        stale=now - _FRESH_MS,
    )
    if not noted:
        tx.run(
            "INSERT INTO model_health (model, failures, last_ok_at, updated_at)"
            " VALUES (:model, 0, :now, :now) ON CONFLICT (model) DO NOTHING",
            model=model,
            now=now,
        )


def circuits(tx: Tx, now: int) -> tuple[frozenset[str], frozenset[str]]:
    """Return the models whose circuit is open, and those whose half-open one is being tried."""
    rows = tx.all(
        "SELECT model, open_until FROM model_health WHERE open_until > :now"
        " OR (open_until IS NOT NULL AND probe_until > :now)",
        now=now,
    )
    found = frozenset(row["model"] for row in rows if row["open_until"] > now)
    return found, frozenset(row["model"] for row in rows) - found


def read_all(tx: Tx, now: int) -> Sequence[ModelHealth]:
    """Return what is on record, by model."""
    return [_health(row, now) for row in tx.all("SELECT * FROM model_health ORDER BY model")]


def _health(row: Row, now: int) -> ModelHealth:
    circuit = "closed"
    if row["open_until"] is not None:
        circuit = "open" if row["open_until"] > now else "half_open"
    is_blocked = row["blocked_until"] is not None and row["blocked_until"] > now
    return ModelHealth(
        model=row["model"],
        state="degraded" if circuit != "closed" or is_blocked else "healthy",
        circuit=circuit,
        failures=row["failures"],
        error_class=row["error_class"],
        error_message=row["error_message"],
        open_until=row["open_until"],
        blocked_until=row["blocked_until"] if is_blocked else None,
        last_ok_at=row["last_ok_at"],
        last_failed_at=row["last_failed_at"],
    )
