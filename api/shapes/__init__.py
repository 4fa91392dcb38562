"""What callers get, for the OpenAPI document. The contract tests hold the answers to it."""
