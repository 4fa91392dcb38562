"""`orchestrator demo`: three runs over HTTP, then a worker killed in mid-stream."""
