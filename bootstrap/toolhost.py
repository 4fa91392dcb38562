"""A tool host: Python functions of this process, run for whoever asks over the API.

It polls, holds what it took with heartbeats, and sends each result until somebody answers. A result
that is lost with this process is what the leases of the server are for.
"""

import asyncio
import contextlib
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx2

from adapters.net.loopback import is_loopback, verify_for
from adapters.tools.registry import ToolRegistry
from bootstrap.commands.api import refuse_problem
from bootstrap.commands.failure import CommandError, ServerAwayError
from bootstrap.commands.wire import Json, at
from bootstrap.terminal import note
from domain.clients import UNKNOWN_CODE
from domain.errors import TransientError
from domain.event import as_json
from domain.tool import Effect, ToolInvocation, ToolOutcome, ToolSpec

_POLL_SECONDS = 20.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_RETRY_SECONDS = 0.5
_REQUEST_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class HostOptions:
    """How a host behaves. `drain_seconds`: how long running calls may take when it stops."""

    host_id: str
    lease_seconds: float = 30.0
    parallel: int = 4
    drain_seconds: float = 10.0


@dataclass
class Host:
    """One tool host at work."""

    client: httpx2.AsyncClient
    tools: ToolRegistry
    options: HostOptions
    _running: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _free: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, stopping: asyncio.Event) -> None:
        """Register, then run what is asked until `stopping`; running calls may end.

        Raises:
            CommandError: the server refuses this host.
        """
        await self._register()
        names = ", ".join(spec.name for spec in self.tools.specs())
        note(f"==> host {self.options.host_id} runs {names}")
        loops = [asyncio.create_task(self._poll()), asyncio.create_task(self._beat())]
        waiting = asyncio.create_task(stopping.wait())
        try:
            done, _ = await asyncio.wait({*loops, waiting}, return_when=asyncio.FIRST_COMPLETED)
            loops[0].cancel()
            if waiting in done and self._running:
                await asyncio.wait(self._running.values(), timeout=self.options.drain_seconds)
            for task in done - {waiting}:
                task.result()
        finally:
            for task in (*loops, waiting, *self._running.values()):
                task.cancel()
            await asyncio.gather(*loops, *self._running.values(), return_exceptions=True)

    async def _register(self) -> None:
        body = {
            "lease_seconds": self.options.lease_seconds,
            "tools": [_declared(spec) for spec in self.tools.specs()],
        }
        await self._send("PUT", at("/v1/tool_hosts/{}", self.options.host_id), body)

    async def _poll(self) -> None:
        path = at("/v1/tool_hosts/{}/poll", self.options.host_id)
        while True:
            room = self.options.parallel - len(self._running)
            if room <= 0:
                self._free.clear()
                await self._free.wait()
                continue
            # One key per poll, so that a repeat after a lost answer gets the same requests.
            body = {"max": room, "wait_seconds": _POLL_SECONDS}
            try:
                said = await self._send("POST", path, body, key=uuid.uuid4().hex)
            except _ForgottenError:
                await self._register()
                continue
            for request in said["requests"]:
                self._begin(request)

    def _begin(self, request: Json) -> None:
        call_id = request["tool_call_id"]
        task = asyncio.create_task(self._carry_out(request))
        self._running[call_id] = task

        def ended(_task: asyncio.Task[None]) -> None:
            self._running.pop(call_id, None)
            self._free.set()

        task.add_done_callback(ended)

    async def _beat(self) -> None:
        path = at("/v1/tool_hosts/{}/heartbeat", self.options.host_id)
        while True:
            await asyncio.sleep(self.options.lease_seconds / 3)
            with contextlib.suppress(_ForgottenError):
                said = await self._send("POST", path, {"tool_calls": list(self._running)})
                for call_id in said["lost"]:
                    note(f"==> {call_id} is not ours any more")
                    task = self._running.get(call_id)
                    if task is not None:
                        task.cancel()

    async def _carry_out(self, request: Json) -> None:
        call_id = request["tool_call_id"]
        outcome = await self._run(request)
        body: Json = {"token": request["token"]}
        if outcome.ok:
            body["result"] = as_json(outcome.content)
        else:
            code = outcome.error_code or "tool_error"
            body["error"] = {"code": code, "message": outcome.content[:10_000] or code}
        try:
            await self._send("POST", at("/v1/tool_calls/{}/submit", call_id), body)
        except CommandError as error:
            note(f"==> the result of {call_id} is not wanted: {error.message}")

    async def _run(self, request: Json) -> ToolOutcome:
        spec = next(one for one in self.tools.specs() if one.name == request["tool_name"])
        args = request["args"] if isinstance(request["args"], dict) else {}
        invocation = ToolInvocation(
            run_id=request["run_id"],
            tool_call_id=request["tool_call_id"],
            idempotency_key=request["idempotency_key"],
            name=spec.name,
            args=args,
            timeout_seconds=spec.timeout_seconds,
        )
        note(f"==> {spec.name}({json.dumps(args, ensure_ascii=False)[:200]})")
        for left in range(spec.attempts - 1, -1, -1):
            try:
                return await self.tools.run(invocation)
            except TransientError as error:
                if not left:
                    return ToolOutcome(ok=False, content=error.message, error_code=error.code)
                await asyncio.sleep(_RETRY_SECONDS)
            except TimeoutError:
                said = f"{spec.name} was cut after {spec.timeout_seconds:g} s"
                return _unclear(spec, said, "tool_timeout")
            except Exception as error:  # noqa: BLE001 - a tool may raise anything; it is told
                return _unclear(spec, str(error) or type(error).__name__, "tool_error")
        raise AssertionError("a tool has at least one attempt")

    async def _send(self, method: str, path: str, body: Json, key: str | None = None) -> Json:
        """Make one request until it is answered; the server may be away for as long as it likes.

        Raises:
            CommandError: it was refused.
            _ForgottenError: the server does not know this host.
        """
        pause = _FIRST_PAUSE
        headers = {"idempotency-key": key} if key else {}
        while True:
            try:
                answer = await self.client.request(method, path, json=body, headers=headers)
                if answer.status_code == 404 and "/tool_hosts/" in path:
                    raise _ForgottenError
                refuse_problem(answer)
            except (httpx2.TransportError, ServerAwayError) as error:
                if pause == _FIRST_PAUSE:
                    note(f"==> {error or type(error).__name__}; asking again")
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            found: Json = answer.json()
            return found


class _ForgottenError(Exception):
    """The server does not know this host (any more)."""


def _declared(spec: ToolSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "description": spec.description,
        "parameters": spec.parameters,
        "effect": spec.effect.value,
        # The request's time begins before the call is taken.
        "timeout_seconds": spec.timeout_seconds * 2,
        "untrusted": spec.untrusted,
    }


def _unclear(spec: ToolSpec, said: str, code: str) -> ToolOutcome:
    """Return what is known of a call that may or may not have acted."""
    if spec.effect is Effect.UNSAFE:
        code = UNKNOWN_CODE
    return ToolOutcome(ok=False, content=said[:2000], error_code=code)


async def run_host(
    url: str, key: str | None, tools: ToolRegistry, options: HostOptions, stopping: asyncio.Event
) -> None:
    """Serve the tools as a host of the API at `url` until `stopping`."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    timeout = httpx2.Timeout(_REQUEST_SECONDS + _POLL_SECONDS, connect=5)
    async with httpx2.AsyncClient(
        base_url=url,
        headers=headers,
        timeout=timeout,
        # A proxy of the environment never leads to this machine.
        trust_env=not is_loopback(url),
        verify=verify_for(url),
    ) as client:
        try:
            await Host(client, tools, options).serve(stopping)
        finally:
            await tools.aclose()
