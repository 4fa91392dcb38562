"""What Prometheus is told: requests, streams and runs. A registry of its own per app."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from domain.push import PushLag
from domain.stats import RunStats, ToolTrouble, WorkerSlot

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_WAITS = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)
"""People take their time."""


class Metrics:
    """The API's instruments. Counters move as things happen; gauges of runs are set at a scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "orchestrator_http_requests_total",
            "HTTP requests by route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "orchestrator_http_request_seconds",
            "Time until the answer was sent; streams count until their end.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = self._gauge("http_requests_in_flight", "Requests being answered.")
        self.streams = self._gauge("sse_clients", "Open event streams.")
        self.cut = Counter(
            "orchestrator_sse_cut_total",
            "Event streams that we ended early, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.lateness = Histogram(
            "orchestrator_event_lateness_seconds",
            "From an event's time to the moment it was sent to a live reader.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.approval_wait = Histogram(
            "orchestrator_approval_wait_seconds",
            "From a question to the answer that a person gave to it over this API.",
            buckets=_WAITS,
            registry=self.registry,
        )
        self._runs = self._gauge("runs", "Runs on record by state.", "state")
        self._waiting = self._gauge("runs_waiting", "Open runs by what they wait for.", "on")
        self._stuck = self._gauge("runs_stuck", "Open runs whose workflow task keeps failing.")
        self._success = self._gauge("run_success_ratio", "Succeeded over all that ended.")
        self._failed_tools = self._gauge(
            "tool_runs_failed", "Tool requests that are DONE with an error as their answer."
        )
        self._duration = self._gauge("run_duration_seconds", "Run times.", "quantile")
        self._queued = self._gauge(
            "run_start_wait_seconds", "From acceptance to the first step.", "quantile"
        )
        self._slots = self._gauge("worker_slots", "Places where steps run.", "state")
        self._left_running = self._gauge(
            "tools_left_running", "Async tools of this process that were cut and have not ended."
        )
        self._stalls = Counter(
            "orchestrator_event_loop_stalls_total",
            "Times that this process's event loop stood still while tools ran in it.",
            registry=self.registry,
        )
        self._stalls_told = 0
        self._push: dict[str, Gauge] = {}

    def set_push(self, lag: PushLag | None) -> None:
        """Set how far the receiver of events is behind; without a receiver there is no gauge."""
        if lag is None:
            return
        if not self._push:
            self._push = {
                "events": self._gauge("ingress_events_behind", "Events not yet pushed."),
                "failing": self._gauge("ingress_runs_failing", "Runs whose next event failed."),
                "oldest": self._gauge("ingress_lag_seconds", "Age of the oldest not pushed."),
            }
        self._push["events"].set(lag.events)
        self._push["failing"].set(lag.failing)
        self._push["oldest"].set(lag.oldest_ms / 1000)

    def set_tools(self, trouble: ToolTrouble) -> None:
        """Set what tools do to the event loop of this process."""
        self._left_running.set(trouble.left_running)
        self._stalls.inc(trouble.loop_stalls - self._stalls_told)
        self._stalls_told = trouble.loop_stalls

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"orchestrator_{name}", text, labels, registry=self.registry)

    def exposition(self, stats: RunStats, slots: list[WorkerSlot], stuck: int = 0) -> bytes:
        """Return everything in Prometheus' text format, with the runs as they are now."""
        self._stuck.set(stuck)
        for gauge, counts in ((self._runs, stats.by_state), (self._waiting, stats.waiting)):
            gauge.clear()
            for name, count in counts.items():
                gauge.labels(name).set(count)
        self._set(self._success, stats.success_rate)
        self._failed_tools.set(stats.failed_tool_runs)
        self._set(self._duration.labels("0.5"), _seconds(stats.p50_ms))
        self._set(self._duration.labels("0.95"), _seconds(stats.p95_ms))
        self._set(self._queued.labels("0.95"), _seconds(stats.wait_p95_ms))
        for state in ("idle", "busy"):
            self._slots.labels(state).set(sum(1 for slot in slots if slot.state == state))
        return generate_latest(self.registry)

    @staticmethod
    def _set(gauge: Gauge, value: float | None) -> None:
        gauge.set(float("nan") if value is None else value)


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000
