"""Random programs of store operations: what workers, workflows and people do, in any order.

Each operation is three numbers; those that make no sense at the moment are refused by the store,
which is part of what is tested.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from domain.acceptance import ForkOf, NewRun, Page
from domain.approval import Answer
from domain.clients import Claim, Submission
from domain.deciding import ApprovalFilter
from domain.errors import OrchestratorError
from domain.event import EventDraft, EventType
from domain.step import Attempt, Closing, Opened
from domain.tool import (
    Audience,
    ClientSide,
    Effect,
    Resolution,
    ToolCallStatus,
    ToolOutcome,
    Verdict,
)
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    FAILED,
    OWNER,
    PLAN,
    answer,
    asks_tool,
    bill,
    execution,
    new_run,
    new_tool_run,
    tool_spec,
)

Operation = tuple[int, int, int]
STEPS = ("llm-1-1", "llm-1-2", "llm-2-1", "tool-1-0", "tool-1-1", "tool-2-0", "invoke-1")
EFFECTS = (Effect.NONE, Effect.UNSAFE, Effect.IDEMPOTENT)
TEXTS = ("a", '{"b": [1, 2.50]}', "", "é\u2028")
ASKS = {"default": "ask", "approval": {"expires_in_seconds": 0.02, "on_timeout": "approve"}}
CLIENT_TOOL = tool_spec().model_copy(
    update={
        "source": "client",
        "timeout_seconds": 0.05,
        "client": ClientSide(audience=Audience.OWNER),
    }
)
ERROR = {"code": "model_timeout", "message": "slow"}


OPERATIONS = 20
"""How many kinds there are; the last one ends a run."""


class Program:
    """Carries out operations on a session of its own and remembers what a worker would know."""

    def __init__(self, store: StoreBox, name: str) -> None:
        self._store = store
        self._name = name
        self.runs: list[str] = []
        self.refused = 0
        self._attempts: list[Attempt] = []
        self._streamed: dict[Attempt, list[str]] = defaultdict(list)
        self._replied: set[tuple[str, str]] = set()
        self._never_called: set[tuple[str, str]] = set()
        self._tool_runs: set[str] = set()
        self._tokens: list[tuple[str, str]] = []
        self._does: Sequence[Callable[[int, int], Awaitable[object]]] = (
            self._accept,
            self._open,
            self._open,
            self._open,
            self._delta,
            self._delta,
            self._close,
            self._close,
            self._fail,
            self._release,
            self._mark_unknown,
            self._resolve,
            self._decide,
            self._read_turn,
            self._ask_cancel,
            self._claim,
            self._submit,
            self._sweep,
            self._fork,
            self._finalize,
        )

    async def carry_out(self, operations: Sequence[Operation]) -> None:
        await self._accept(0, 0)
        for what, a, b in operations:
            try:
                await self._does[what % len(self._does)](a, b)
            except OrchestratorError:
                self.refused += 1

    async def _accept(self, a: int, _b: int) -> None:
        name = f"run_{self._name}_{len(self.runs)}"
        new: NewRun = new_run(name, f"s-{self._name}")
        if a % 3 == 1:
            new = replace(new, spec=new.spec.model_copy(update={"tool_policy": ASKS}))
        if a % 4 == 2:
            new = replace(new, spec=new.spec.model_copy(update={"tools": (CLIENT_TOOL,)}))
        if a % 5 == 4:
            new = new_tool_run(name, EFFECTS[a % 3])
            self._tool_runs.add(name)
        await self._store.runs.accept(new)
        self.runs.append(name)

    async def _check_order(self, run_id: str) -> None:
        """Refuse what no workflow does: to work before it has its session."""
        said = await self._store.all(
            "SELECT m.run_id, m.role FROM messages m JOIN runs r ON r.session_id = m.session_id"
            " WHERE r.run_id = :run AND m.seq IS NOT NULL ORDER BY m.seq",
            run=run_id,
        )
        speaker = None
        for row in said:
            speaker = row["run_id"] if row["role"] == "user" else speaker
            if row["run_id"] != speaker:
                raise OrchestratorError(f"{row['run_id']} spoke out of turn")

    async def _fork(self, a: int, b: int) -> None:
        """Fork or retry a run whose turns are in order, as those of a workflow are."""
        old = self._run(a)
        await self._check_order(old)
        rows = await self._store.all(
            "SELECT step_id FROM steps WHERE run_id = :run AND state = 'closed'"
            " AND step_id NOT LIKE 'tool-%'",
            run=old,
        )
        turns = sorted(int(row["step_id"].split("-")[1]) for row in rows)
        if turns != list(range(1, len(turns) + 1)):
            raise OrchestratorError("no workflow leaves out a turn")
        turn = None if b % 4 == 0 else b % 3
        says_more = turn is not None and b % 2 == 0
        name = f"run_{self._name}_{len(self.runs)}"
        source = await self._store.forks.source(OWNER, old)
        is_tool = old in self._tool_runs
        of = ForkOf(old, turn, by="eve", says_more=says_more)
        new = replace(
            new_run(name, f"s-{name}", fork=of),
            kind=source.run.kind,
            spec=source.spec,
            session_id=None if is_tool else f"s-{name}",
            tool_call_id=f"tc_{name}" if is_tool else None,
        )
        kept = (await self._store.runs.accept(new)).run.forked_from
        assert kept is not None
        self.runs.append(name)
        self._tool_runs |= {name} if is_tool else set()
        self._never_called |= {(name, step) for run, step in self._never_called if run == old}
        self._replied |= {(name, str(turn)) for turn in range(1, kept.turn + 1)}
        is_over = (old, "end") in self._replied and kept.turn == len(turns) and not says_more
        self._replied |= {(name, "end")} if is_over else set()

    def _run(self, a: int) -> str:
        return self.runs[a % len(self.runs)]

    def _attempt(self, a: int) -> Attempt:
        if not self._attempts:
            raise OrchestratorError("nothing was opened yet")
        return self._attempts[-1 - a % min(4, len(self._attempts))]

    async def _open(self, a: int, b: int) -> None:
        step = "tool-1-0" if self._run(a) in self._tool_runs else STEPS[b % len(STEPS)]
        if (self._run(a), step) in self._never_called:
            raise OrchestratorError("a workflow does not schedule a call that was refused")
        plan = PLAN if step.startswith("llm-") else None
        if plan is not None and a % 3 == 0:
            plan = replace(plan, input_rate=None)
        who = execution(self._run(a), step, temporal_run_id=f"temporal-{b // 40}")
        opening = await self._store.steps.open(who, plan)
        if isinstance(opening, Opened):
            self._attempts.append(Attempt(who.run_id, step, opening.attempt))

    async def _delta(self, a: int, b: int) -> None:
        attempt, text = self._attempt(a), TEXTS[b % len(TEXTS)]
        pieces = self._streamed[attempt]
        await self._store.steps.append_delta(attempt, text, len(pieces) + 1)
        pieces.append(text)

    async def _close(self, a: int, b: int) -> None:
        attempt = self._attempt(a)
        if attempt.step_id.startswith("tool-"):
            ok = b % 3 > 0
            outcome = ToolOutcome(ok=ok, content=TEXTS[b % 2], error_code=None if ok else "broke")
            status = ToolCallStatus.SUCCEEDED if ok else ToolCallStatus.FAILED
            await self._store.steps.close_tool(attempt, status, outcome)
            return
        turn = attempt.step_id.split("-")[1]
        if (attempt.run_id, turn) in self._replied or (attempt.run_id, "end") in self._replied:
            raise OrchestratorError("a workflow takes one reply per turn, and none after the last")
        is_last = b % 2 == 0 or attempt.step_id == "invoke-1"
        closing = self._answer(attempt, b) if is_last else _question(int(turn), b)
        await self._store.steps.close(attempt, closing)
        self._replied.add((attempt.run_id, "end" if is_last else turn))
        self._never_called |= {(attempt.run_id, call.step_id) for call, _ in closing.refused}

    def _answer(self, attempt: Attempt, b: int) -> Closing:
        rest = TEXTS[b % len(TEXTS)]
        pieces = self._streamed[attempt]
        data = {"agent_id": "helper", "step": attempt.step_id}
        done = EventDraft(type=EventType.AGENT_INVOKE_DONE, key="invoke_done", data=data)
        cost = None if b % 7 == 0 else 123_456_789
        replaces = attempt.step_id == "invoke-1" and b % 3 == 0
        return answer(
            rest if replaces else "".join(pieces) + rest,
            last_delta=rest,
            replaces_stream=replaces,
            delta_index=len(pieces) + 1,
            events=(done,),
            bill=None if attempt.step_id == "invoke-1" else bill(cost_pico=cost),
        )

    async def _fail(self, a: int, b: int) -> None:
        has_model = self._attempt(a).step_id.startswith("llm-")
        spent = bill(error=ERROR, cost_pico=None if b % 5 == 0 else 7) if has_model else None
        await self._store.steps.fail(self._attempt(a), spent)

    async def _release(self, a: int, _b: int) -> None:
        await self._store.steps.release(self._attempt(a))

    async def _mark_unknown(self, a: int, _b: int) -> None:
        if self._attempt(a).step_id.startswith("tool-"):
            await self._store.steps.mark_unknown(self._attempt(a), "cut")

    async def _resolve(self, a: int, b: int) -> None:
        unknown, _ = await self._store.runs.list_tool_calls(
            OWNER, self._run(a), "outcome_unknown", Page()
        )
        said = Verdict(resolution=list(Resolution)[b % 3], by="eve", result=TEXTS[b % len(TEXTS)])
        for call in unknown[:1]:
            await self._store.runs.resolve_tool_call(OWNER, call.tool_call_id, said)

    async def _decide(self, a: int, b: int) -> None:
        which = ApprovalFilter(status="pending", run_id=self._run(a))
        pending, _ = await self._store.approvals.list_approvals(OWNER, which, Page())
        edited = '{"to":"eve"}' if b % 5 == 0 else None
        said = Answer(approved=b % 3 > 0, by="eve", edited_args=edited if b % 3 else None)
        for approval in pending[:1]:
            await self._store.approvals.decide(OWNER, approval.approval_id, said)

    async def _claim(self, a: int, b: int) -> None:
        """Take the first call of a run that a client may, or one that is not to be had."""
        calls, _ = await self._store.runs.list_tool_calls(OWNER, self._run(a), None, Page())
        who = Claim(owner=OWNER, caller="key_1", name="eve", key=f"k{b % 3}")
        for call in calls[-1 - b % 2 :][:1]:
            taken = await self._store.clients.claim(who, call.tool_call_id)
            self._tokens.append((call.tool_call_id, taken.token))

    async def _submit(self, a: int, b: int) -> None:
        for call_id, token in self._tokens[-1 - a % 3 :][:1]:
            ok = b % 3 > 0
            said = ToolOutcome(ok=ok, content=TEXTS[b % 2], error_code=None if ok else "broke")
            await self._store.clients.submit(OWNER, call_id, Submission(token, said, "eve"))

    async def _sweep(self, _a: int, b: int) -> None:
        if b % 5 == 0:
            await self._store.clients.sweep()

    async def _read_turn(self, a: int, b: int) -> None:
        await self._store.steps.read_turn(self._run(a), f"temporal-{b // 40}")

    async def _ask_cancel(self, a: int, b: int) -> None:
        if b % 4 == 0:
            await self._store.runs.ask_cancel(OWNER, self._run(a), "enough")

    async def _finalize(self, a: int, b: int) -> None:
        if b not in (2, 4) and b % 9:
            return  # rarely: what has ended does no more work
        finish = (DONE, FAILED, CANCELLED)[b % 3]
        calls, _ = await self._store.runs.list_tool_calls(OWNER, self._run(a), None, Page())
        if finish is DONE and any(call.ended_at is None for call in calls):
            finish = FAILED  # a workflow is not done while it waits for a tool
        await self._store.steps.finalize(self._run(a), finish)


def _question(turn: int, b: int) -> Closing:
    asked = asks_tool(*(EFFECTS[b % 3], EFFECTS[b % 2])[: 1 + b % 2], turn=turn)
    if b % 5:
        return asked
    no = ToolOutcome(ok=False, content="there is no such tool", error_code="unknown_tool")
    return replace(asked, tool_calls=(), refused=tuple((call, no) for call in asked.tool_calls))
