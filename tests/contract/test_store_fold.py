"""Invariant I3: folding a run's log gives the run's row, whatever happened to the run."""

import itertools
import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.contract.store_engines import StoreBox
from tests.contract.store_programs import OPERATIONS, Operation, Program
from tests.contract.store_scenes import check_run

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

_names = itertools.count(1)
_operation = st.tuples(st.integers(0, OPERATIONS - 1), st.integers(0, 9), st.integers(0, 89))
PROGRAMS = st.lists(_operation, min_size=20, max_size=80)
ENDS = st.lists(st.integers(0, 2), min_size=1, max_size=8)
PATIENT = settings(
    max_examples=30,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # a program is short enough to be read as it is
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def check_transcript(store: StoreBox, session_id: str) -> None:
    """Once nobody works on a session, every call of a tool in it has exactly one result."""
    messages = await store.steps.read_transcript("ann", session_id)
    asked = [call.call_id for message in messages for call in message.tool_calls]
    answered = [str(message.tool_call_id) for message in messages if message.role == "tool"]
    assert sorted(asked) == sorted(answered)


async def check_news(store: StoreBox, program: Program) -> None:
    """Whether a run has news is one thing whoever asks: the reconciler, or the run itself."""
    for found in await store.upkeep.open_runs(1 << 60, 10_000):
        if found.run.run_id not in program.runs:
            continue
        assert found.resolved_unseen == bool(await store.steps.read_news(found.run.run_id))


async def run_program(store: StoreBox, operations: list[Operation], ends: list[int]) -> None:
    """Carry out a program, check every run, end what still runs, check again."""
    name = str(next(_names))
    program = Program(store, name)
    await program.carry_out(operations)
    for run_id in program.runs:
        await check_run(store, run_id)
    await check_news(store, program)

    await program.carry_out(
        [(OPERATIONS - 1, index, 4 if end else 2) for index, end in enumerate(ends * 9)]
    )

    for run_id in program.runs:
        await check_run(store, run_id)
    ended = [await store.runs.get_run(None, run_id) for run_id in program.runs]
    if all(run.is_terminal for run in ended):
        for session_id in {run.session_id for run in ended if run.session_id}:
            await check_transcript(store, session_id)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@given(operations=PROGRAMS, ends=ENDS)
@PATIENT
async def test_the_log_folds_into_the_row_on_sqlite(
    store: StoreBox, operations: list[Operation], ends: list[int]
) -> None:
    await run_program(store, operations, ends)


@pytest.mark.parametrize("kind", ["postgres"], indirect=True)
@given(operations=PROGRAMS, ends=ENDS)
@settings(PATIENT, max_examples=4)
async def test_the_log_folds_into_the_row_on_postgresql(
    store: StoreBox, operations: list[Operation], ends: list[int]
) -> None:
    await run_program(store, operations, ends)


async def test_a_program_does_real_work(store: StoreBox) -> None:
    """The random programs are worth nothing if the store refuses most of what they ask."""
    program = Program(store, "work")
    dice = random.Random(5)
    operations = [
        (dice.randrange(OPERATIONS), dice.randrange(10), dice.randrange(90)) for _ in range(800)
    ]

    await program.carry_out(operations)

    written = await store.all("SELECT type FROM events")
    assert len(written) > 80
    assert len({row["type"] for row in written}) > 12
    assert {"tool_request", "tool_result"} <= {row["type"] for row in written}
    assert program.refused < 650
