"""When to try again, and when the receiver is too far behind."""

from domain.push import PushLag, complaint, pause_ms


def test_pauses_double_up_to_a_minute_and_are_spread() -> None:
    assert [pause_ms(n, 0) for n in (1, 2, 3, 7, 8, 9, 99)] == [
        *(500, 1000, 2000, 32_000),
        *(60_000, 60_000, 60_000),
    ]
    assert pause_ms(3, 1) == 1600


def test_a_receiver_gets_the_time_that_it_asks_for_within_reason() -> None:
    assert pause_ms(1, 1, 7000) == 7000
    assert pause_ms(1, 0, 0) == 500
    assert pause_ms(1, 0, 3_600_000) == 60_000


def test_a_lag_of_a_minute_is_told() -> None:
    late = PushLag(events=7, runs=2, failing=1, oldest_ms=90_000, error="HTTP 500")

    assert complaint(PushLag(7, 2, 1, 59_999, "HTTP 500")) is None
    assert (
        complaint(late) == "INGRESS_URL is 90 s behind with 7 events of 2 runs; it said: HTTP 500"
    )
