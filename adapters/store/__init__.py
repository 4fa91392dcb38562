"""The record: event log, transcript, registry and ledger in SQL."""
