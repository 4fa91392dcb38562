"""In-memory ports for tests of the API, one module each: no store, no engine, no sockets."""
