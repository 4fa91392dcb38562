"""An upgrade lists the runs that were given up on before there was a list."""

import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from adapters.store.schema import revisions
from adapters.store.schema.migrate import upgrade

EVENT = '{"data":{"code":"poison_step","step":"tool-1-0"}}'
BEFORE = "0005"


def _at_the_revision_before(path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(revisions._MIGRATIONS))
    found = ScriptDirectory.from_config(config).get_revision(BEFORE)
    assert found is not None
    with create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, str(found.down_revision))


def test_runs_that_were_given_up_on_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    _at_the_revision_before(path)
    with closing(sqlite3.connect(path)) as old, old:
        old.execute(
            "INSERT INTO runs (run_id, owner, kind, state, spec, input, error, root_run_id,"
            " created_at, ended_at) VALUES ('run_1', 'ann', 'agent', 'FAILED', '{}', '{}',"
            ' \'{"code":"poison_step","message":"it kills"}\', \'run_1\', 1, 2)'
        )
        old.execute(
            "INSERT INTO events VALUES ('run_1', 1, 'dead', 2, 'run_dead_lettered', ?)", (EVENT,)
        )

    upgrade(path)

    with closing(sqlite3.connect(path)) as new:
        rows = new.execute(
            "SELECT dead_letter_id, owner, code, reason, step_id, status FROM dead_letters"
        ).fetchall()
    assert rows == [("dl_1", "ann", "poison_step", "it kills", "tool-1-0", "waiting")]
