"""Probes and version, as callers get them."""

from typing import Literal

from api.shapes.pieces import Shape


class CheckOut(Shape):
    """What one check found."""

    ok: bool
    detail: str | None


class HealthOut(Shape):
    """How the product is. It answers 200 as long as the process can."""

    status: Literal["ok", "degraded", "draining"]
    version: str
    uptime_seconds: float
    checks: dict[str, CheckOut]


class ReadyOut(Shape):
    """Whether work can be taken and done."""

    ready: bool
    checks: dict[str, CheckOut]


class AliveOut(Shape):
    """The process answers."""

    status: Literal["ok"]


class VersionOut(Shape):
    """What runs here."""

    name: str
    version: str
