"""The API over fakes, without an engine or a store."""
