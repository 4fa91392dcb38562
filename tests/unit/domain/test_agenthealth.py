"""How external agents are: seen, gone, tried again. Times are arguments: nothing is waited for."""

from dataclasses import replace

import pytest

from domain.agenthealth import (
    MAX_CAPABILITIES,
    Circuit,
    EverybodyWell,
    Health,
    HealthRecord,
    HealthRules,
    Report,
    admit,
    after_answer,
    after_failure,
    after_release,
    after_report,
    circuit_of,
    health_of,
    is_its_fault,
    report_of,
)
from domain.errors import (
    AddressRefusedError,
    AgentFailedError,
    AgentUnavailableError,
    CircuitOpenError,
    LimitReachedError,
)

RULES = HealthRules(unseen_ms=90_000, failures=3, cool_down_ms=30_000, probe_ms=10_000)
T = 1_000_000
WELL = Report(version="1.0", capabilities=("echo",))
LOST = Report(error="it cannot be reached", is_there=False)


def status(record: HealthRecord, now: int, since: int = T) -> Health:
    return health_of(record, since, now, RULES).status


def check(record: HealthRecord, report: Report, now: int) -> HealthRecord:
    return after_report(record, report, now, is_check=True)


def failed(times: int, now: int = T, record: HealthRecord | None = None) -> HealthRecord:
    record = record or HealthRecord()
    for _ in range(times):
        record = after_failure(record, "it answered 500", now, RULES)
    return record


def test_an_agent_nobody_looked_at_is_unknown_for_ever() -> None:
    assert status(HealthRecord(), T) is Health.UNKNOWN
    assert status(HealthRecord(), T + 10**9) is Health.UNKNOWN


def test_an_agent_is_healthy_from_a_good_check_until_90_s_without_one() -> None:
    record = check(HealthRecord(), WELL, T)

    assert (record.version, record.capabilities) == ("1.0", ("echo",))
    assert status(record, T + 90_000) is Health.HEALTHY
    lost = check(record, LOST, T + 90_001)
    assert status(lost, T + 90_001) is Health.UNHEALTHY
    assert (lost.error, lost.version) == ("it cannot be reached", "1.0")
    assert status(check(lost, WELL, T + 120_000), T + 120_000) is Health.HEALTHY


def test_a_check_that_fails_once_says_nothing_yet() -> None:
    record = check(check(HealthRecord(), WELL, T), LOST, T + 30_000)

    assert status(record, T + 30_000) is Health.HEALTHY
    assert status(record, T + 90_001) is Health.UNHEALTHY


def test_a_heartbeat_is_a_sign_of_life_where_checks_do_not_reach() -> None:
    record = check(HealthRecord(), LOST, T + 1)
    record = after_report(record, WELL, T + 80_000, is_check=False)

    assert status(record, T + 170_000) is Health.HEALTHY
    assert status(check(record, LOST, T + 170_001), T + 170_001) is Health.UNHEALTHY


def test_while_nobody_checks_an_agent_is_not_blamed() -> None:
    """The workers were away for an hour: the first check decides."""
    record = check(HealthRecord(), WELL, T)

    assert status(record, T + 3_600_000) is Health.UNKNOWN


def test_an_agent_that_never_was_there_is_unhealthy_after_90_s() -> None:
    record = check(HealthRecord(), LOST, T + 30_000)

    assert status(record, T + 30_000) is Health.UNKNOWN
    assert status(record, T + 90_001) is Health.UNHEALTHY


@pytest.mark.parametrize("word", ["unhealthy", " Draining ", "DOWN", "error"])
def test_an_agent_that_says_so_is_unhealthy_at_once(word: str) -> None:
    report = report_of(word, None, None)
    record = after_report(check(HealthRecord(), WELL, T), report, T + 1, is_check=False)

    assert status(record, T + 1) is Health.UNHEALTHY
    assert record.error == f"it says that it is {word.strip()}"
    assert record.capabilities == ("echo",)
    assert status(check(record, WELL, T + 2), T + 2) is Health.HEALTHY


def test_what_an_agent_said_stands_when_it_only_answers() -> None:
    draining = after_report(HealthRecord(), report_of("draining", None, None), T, is_check=False)
    answers = Report(is_word=False)

    looked_at = check(draining, answers, T + 1)

    assert status(looked_at, T + 1) is Health.UNHEALTHY
    assert looked_at.error == "it says that it is draining"
    assert status(check(HealthRecord(), answers, T), T) is Health.HEALTHY
    assert status(check(looked_at, WELL, T + 2), T + 2) is Health.HEALTHY


def test_what_an_agent_says_of_itself_is_cut_to_what_is_kept() -> None:
    many = ["x\0", "x\0", "", 7, "y" * 999, *[f"c{n}" for n in range(200)]]

    report = report_of(7, "v" * 999, many)

    assert report.error is None
    assert report.version == "v" * 100
    assert report.capabilities is not None
    assert report.capabilities[:2] == ("x\ufffd", "y" * 100)
    assert len(report.capabilities) == MAX_CAPABILITIES
    assert report_of("ok", 1, "echo") == Report()


def test_the_circuit_opens_after_failures_in_a_row_and_an_answer_starts_the_count_anew() -> None:
    record = failed(2)
    assert circuit_of(record, T) is Circuit.CLOSED

    record = failed(2, record=after_answer(record, T, RULES))
    assert circuit_of(record, T) is Circuit.CLOSED

    record = failed(1, record=record)
    assert circuit_of(record, T) is Circuit.OPEN
    assert status(record, T) is Health.UNHEALTHY


def test_an_open_circuit_says_why_and_for_how_long() -> None:
    with pytest.raises(CircuitOpenError, match=r"failed 3 times .* 500; .* in 20\.0 s") as caught:
        admit("a", failed(3), T + 10_000, RULES)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == 20


def test_one_call_tries_when_the_cool_down_is_over_and_no_other_beside_it() -> None:
    """Half-open: a thousand runs that come at once are one call."""
    now = T + 30_000
    record = failed(3)
    assert circuit_of(record, now) is Circuit.HALF_OPEN

    tried = admit("a", record, now, RULES)

    with pytest.raises(CircuitOpenError, match="one call is finding out"):
        admit("a", tried, now + 9_999, RULES)
    # The worker that tried is gone: another may, when its time is over.
    assert admit("a", tried, now + 10_000, RULES).probe_until == now + 20_000


def test_the_call_that_tries_closes_the_circuit_or_opens_it_again() -> None:
    now = T + 30_000
    tried = admit("a", failed(3), now, RULES)

    closed = after_answer(tried, now + 5, RULES)
    again = after_failure(tried, "still", now + 5, RULES)
    cut = after_release(tried)

    assert circuit_of(closed, now + 5) is Circuit.CLOSED
    assert (closed.failures, closed.error) == (0, None)
    assert circuit_of(again, now + 30_004) is Circuit.OPEN
    assert circuit_of(again, now + 30_005) is Circuit.HALF_OPEN
    assert admit("a", cut, now + 6, RULES).probe_until is not None


def test_a_call_from_before_does_not_make_the_cool_down_longer() -> None:
    record = failed(3)

    assert failed(1, T + 20_000, record).open_until == record.open_until


def test_an_agent_is_chosen_again_after_the_cool_down_and_a_good_check() -> None:
    record = failed(3)
    now = T + 30_000

    early = check(record, WELL, T + 1)
    late = check(record, WELL, now)

    assert status(early, now) is Health.UNHEALTHY
    assert status(late, now) is Health.HEALTHY
    assert late.error == "it answered 500"
    assert status(admit("a", late, now, RULES), now) is Health.UNHEALTHY  # somebody tries


def test_a_circuit_that_is_closed_admits_without_a_change() -> None:
    record = failed(2)

    assert admit("a", record, T, RULES) is record


def test_an_answer_soon_after_another_changes_nothing() -> None:
    record = after_answer(HealthRecord(), T, RULES)

    assert after_answer(record, T + 10_000, RULES) is record
    assert after_answer(record, T + 10_001, RULES).seen_at == T + 10_001
    assert after_answer(replace(record, failures=1), T + 1, RULES).failures == 0


def test_what_counts_against_an_agent() -> None:
    said = AgentFailedError("no credit")
    said.is_answer = True
    busy = AgentUnavailableError("429")
    busy.is_busy = True

    assert is_its_fault(AgentFailedError("HTML"))
    assert is_its_fault(AgentUnavailableError("away"))
    assert is_its_fault(AddressRefusedError("inside"))
    assert not is_its_fault(said)
    assert not is_its_fault(busy)
    assert not is_its_fault(LimitReachedError("ours", reason="max_tokens"))
    assert not is_its_fault(TimeoutError())


async def test_without_a_book_nobody_is_known_to_be_unhealthy() -> None:
    assert await EverybodyWell().unhealthy("ann") == frozenset()
