"""Reading the ledger: what each attempt of a run's model calls used."""

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.store.database.pages import where
from adapters.store.database.tx import Tx
from domain.chat import TokenUsage


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One attempt that reached a provider. `cost_pico` is None while the model has no price."""

    step_id: str
    attempt: int
    model: str
    usage: TokenUsage
    cost_pico: int | None
    estimated: bool
    latency_ms: int
    error_code: str | None
    created_at: int


def list_usage(tx: Tx, owner: str | None, run_id: str) -> Sequence[LedgerEntry]:
    """Return a run's entries in the order they were made; none for another owner's run."""
    clause, params = where({"run_id": run_id, "owner": owner})
    rows = tx.all(
        f"SELECT * FROM usage{clause} ORDER BY created_at, step_id, attempt",
        **params,
    )
    return [
        LedgerEntry(
            step_id=row["step_id"],
            attempt=row["attempt"],
            model=row["model"],
            usage=TokenUsage(
                input_tokens=row["input_tokens"],
                output_tokens=row["output_tokens"],
                cached_tokens=row["cached_tokens"],
            ),
            cost_pico=row["cost_pico"],
            estimated=bool(row["estimated"]),
            latency_ms=row["latency_ms"],
            error_code=row["error_code"],
            created_at=row["created_at"],
        )
        for row in rows
    ]
