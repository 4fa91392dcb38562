"""An upgrade marks the text of strangers that stands in transcripts already."""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from adapters.store.schema import revisions
from adapters.store.schema.migrate import upgrade

_RUN = (
    "INSERT INTO runs (run_id, owner, agent_id, kind, state, spec, input, root_run_id, untrusted,"
    " parent_run_id, parent_step, created_at)"
    " VALUES (?, 'ann', 'helper', 'agent', 'DONE', ?, '{}', ?, ?, ?, ?, 1)"
)
_MESSAGE = (
    "INSERT INTO messages (message_id, owner, session_id, run_id, seq, role, content, tool_call_id,"
    " created_at) VALUES (?, 'ann', 's1', ?, 1, ?, 'hi', ?, 1)"
)
_CALL = (
    "INSERT INTO tool_calls (tool_call_id, owner, run_id, step_id, tool_name, args, status, effect,"
    " provider_call_id, idempotency_key, untrusted, created_at)"
    " VALUES (?, 'ann', 'run_1', ?, 'http_fetch', '{}', ?, 'none', ?, 'k', ?, 1)"
)
_REQUEST = (
    "INSERT INTO tool_requests (tool_call_id, owner, run_id, step_id, tool_name, audience, offline,"
    " status, asked, timeout_ms, expires_at, created_at)"
    " VALUES ('c3', 'ann', 'run_1', 'tool-1-3', 'mail', 'owner', 'wait', 'waiting', 1, 1, 1, 1)"
)
HTTP = '{"agent_kind":"http"}'


def _at_the_revision_before(path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(revisions._MIGRATIONS))
    with create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0007")


def _fill(old: sqlite3.Connection) -> None:
    old.execute(_RUN, ("run_1", "{}", "run_1", False, None, None))
    old.execute(_RUN, ("outside", HTTP, "run_1", False, "run_1", "tool-1-2"))
    old.execute(_RUN, ("child", "{}", "child", True, None, None))
    calls = [("c0", "succeeded", True), ("c1", "rejected", True), ("c2", "succeeded", False)]
    for place, (name, status, untrusted) in enumerate(calls):
        old.execute(_CALL, (name, f"tool-1-{place}", status, name, untrusted))
        old.execute(_MESSAGE, (f"of {name}", "run_1", "tool", name))
    for run_id in ("run_1", "outside", "child"):
        for role in ("user", "assistant"):
            old.execute(_MESSAGE, (f"{run_id} {role}", run_id, role, None))
    old.execute(_REQUEST)


def test_what_strangers_wrote_before_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    _at_the_revision_before(path)
    with closing(sqlite3.connect(path)) as old, old:
        _fill(old)

    upgrade(path)

    with closing(sqlite3.connect(path)) as new:
        marked = new.execute("SELECT message_id FROM messages WHERE untrusted").fetchall()
        requests = new.execute("SELECT agent_id, policy_print FROM tool_requests").fetchall()
    assert {row[0] for row in marked} == {"of c0", "of c2", "outside assistant", "child user"}
    assert requests == [("helper", "")]
