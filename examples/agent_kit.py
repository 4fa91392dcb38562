"""Serve an external agent: one file without dependencies, to be copied beside your own code.

    agent = Agent("tutor", "Tutor", capabilities=["sums"])

    @agent.handler
    def answer(call: Call) -> Iterator[str]:
        yield "Let me see. "
        yield call.ask("assistant", call.text)   # another agent, inside the same run

    agent.serve(port=8000, register_at="http://127.0.0.1:8080")

A handler yields text; what it yields is streamed, and together it is the answer. `call.state` says
what it is doing; an exception becomes an `error` event. With `register_at` the agent registers,
keeps its token to itself, sends heartbeats, and may use tools of the run that it works on and ask
other agents. Off a laptop registering needs an API key with the scope `admin` in
ORCHESTRATOR_API_KEY; or somebody else registers the agent and gives it its token as AGENT_TOKEN.
"""

import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
Handler = Callable[["Call"], Iterable[str]]

AWAY = {502, 503, 504}
PATIENCE_SECONDS = 600
STATE_SECONDS = 30


class AgentError(Exception):
    """What a handler raises to end the run with a code of its own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class GoneError(Exception):
    """Nobody reads the answer any more: the run was cancelled, or the orchestrator stopped."""


class Platform:
    """The orchestrator, as an agent sees it with its token."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url.rstrip("/")
        self._token = token

    def post(self, path: str, body: Json, key: str | None = None) -> Any:
        """Send one request and return the open answer.

        Raises:
            AgentError: it was refused, or (`platform_away`) nobody answered.
        """
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if key:
            headers["Idempotency-Key"] = key
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), headers, method="POST"
        )
        try:
            return urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode("utf-8", "replace")
            code = "platform_away" if error.code in AWAY else "platform_refused"
            raise AgentError(code, f"POST {path}: {error.code} {said}") from error
        except (OSError, http.client.HTTPException) as error:
            raise AgentError("platform_away", f"POST {path}: {error}") from error


class Call:
    """One question, with what an agent may do while it answers."""

    def __init__(self, body: Json, platform: Platform, send: Callable[[str, Json], None]) -> None:
        self.body = body
        self.run_id: str = body["run_id"]
        self.session_id: str = body["session_id"]
        self.text: str = body["input_message"]["content"]
        self.messages: list[Json] = body["messages"]
        self.context: Json = body["context"]
        self._platform = platform
        self._send = send
        self._asked = 0

    def state(self, state: str, detail: str = "") -> None:
        """Say what the agent is doing."""
        self._send("state", {"state": state, "detail": detail})

    def tool(self, name: str, **args: Any) -> Any:
        """Call a tool that the agent was registered with; return its result.

        A call is named by its place among the calls of this answer, so that it is not made again
        when the question is sent again: ask for the same things in the same order. A person may
        have to approve it: it is waited for as long as the orchestrator waits for this answer.
        """
        path, body = f"/v1/tools/{name}/invoke", {"args": args, "run_id": self.run_id}
        said = self._answered(path, body, _outcome)
        if said["status"] != "succeeded":
            raise AgentError("tool_failed", f"tool {name} is {said['status']}: {said}")
        return said["result"]

    def ask(self, agent_id: str, text: str) -> str:
        """Ask another agent inside the same run, and return its answer."""
        body = {"parent_run_id": self.run_id, "input_message": {"role": "user", "content": text}}
        event, data = self._answered(f"/v1/agents/{agent_id}:invoke", body, _end)
        if event == "error":
            raise AgentError(data["code"], f"agent {agent_id}: {data['message']}")
        return str(data["final_message"])

    def _answered(self, path: str, body: Json, read: Callable[[Any], Any]) -> Any:
        """Send one request until it has an end: repeated by its key, it is still the same one.

        The orchestrator may be restarted meanwhile, and a person may take a while.
        """
        self._asked += 1
        key = f"{self.run_id}-{len(self.messages)}-{self._asked}"
        wait, waited, silent = 0.2, 0.0, 0.0
        while True:
            try:
                with self._platform.post(path, body, key) as answer:
                    found = read(answer)
            except AgentError as error:
                if error.code != "platform_away" or waited > PATIENCE_SECONDS:
                    raise
                found = None
            except (OSError, http.client.HTTPException, ValueError):
                found = None  # it was cut in the middle
            if found is not None:
                return found
            if silent > STATE_SECONDS:
                silent = 0.0
                self.state("waiting", path)  # or raises GoneError: nobody reads the answer
            time.sleep(wait)
            waited, silent = waited + wait, silent + wait
            wait = min(2 * wait, 5.0)


def _outcome(answer: Any) -> Json | None:
    said: Json = json.load(answer)
    return None if said["status"] == "pending" else said


def _end(answer: Any) -> tuple[str, Json] | None:
    return next((found for found in events(answer) if found[0] in {"done", "error"}), None)


def events(lines: Iterable[bytes]) -> Iterator[tuple[str, Json]]:
    """Yield the server-sent events of an answer of ours, which ends every line with LF."""
    event, data = "message", ""
    for line in lines:
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            data += value
        elif not name and data:
            yield event, json.loads(data)
            event, data = "message", ""


class Agent:
    """An agent: its handler, and what it says of itself."""

    def __init__(self, agent_id: str, name: str, *, version: str = "1.0", **card: Any) -> None:
        self.agent_id = agent_id
        self.version = version
        self._card: Json = {"agent_id": agent_id, "name": name, **card}
        self._handler: Handler | None = None
        self._token = os.environ.get("AGENT_TOKEN")
        self._stopping = threading.Event()

    def handler(self, handler: Handler) -> Handler:
        """Take a function as what answers."""
        self._handler = handler
        return handler

    def health(self) -> Json:
        """Return what the agent says of itself."""
        capabilities = self._card.get("capabilities", [])
        return {"status": "ok", "version": self.version, "capabilities": capabilities}

    def serve(
        self, port: int = 8000, *, host: str = "127.0.0.1", register_at: str | None = None
    ) -> None:
        """Serve until the process is told to stop; print where."""
        server = ThreadingHTTPServer((host, port), type("Requests", (_Requests,), {"agent": self}))
        endpoint = f"http://{host}:{server.server_port}"
        if register_at is not None:
            self.register(register_at, endpoint)
            threading.Thread(target=self._beat, args=(register_at,), daemon=True).start()
        print(f"agent on {endpoint}", flush=True)
        try:
            server.serve_forever()
        finally:
            self._stopping.set()

    def register(self, platform_url: str, endpoint: str) -> None:
        """Register, unless a token was given: then somebody else has."""
        if self._token is None:
            platform = Platform(platform_url, os.environ.get("ORCHESTRATOR_API_KEY"))
            body = {**self._card, "endpoint": endpoint}
            with platform.post("/v1/agents/register", body) as answer:
                self._token = json.load(answer)["token"]

    def answer(self, body: Json, platform_url: str, send: Callable[[str, Json], None]) -> None:
        """Answer one question."""
        assert self._handler is not None, "decorate a function with @agent.handler"
        call = Call(body, Platform(platform_url, self._token), send)
        said: list[str] = []
        try:
            for text in self._handler(call):
                said.append(text)
                send("delta", {"text": text, "run_id": call.run_id})
        except AgentError as error:
            send("error", {"code": error.code, "message": str(error)})
        except GoneError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the run has to know
            send("error", {"code": "agent_error", "message": f"{type(error).__name__}: {error}"})
        else:
            send("done", {"final_message": "".join(said)})

    def _beat(self, platform_url: str) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            path = f"/v1/agents/{self.agent_id}/heartbeat"
            try:
                with Platform(platform_url, self._token).post(path, self.health()) as answer:
                    wait = json.load(answer)["next_in_seconds"]
            except (AgentError, OSError):
                wait = 5.0  # it is away for a moment; its checks find us as well


class _Requests(BaseHTTPRequestHandler):
    agent: Agent

    def do_POST(self) -> None:
        if self.path != "/invoke":
            self.send_error(404)
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._head("text/event-stream")
        try:
            self.agent.answer(body, self.headers["x-platform-base-url"], self._send)
        except GoneError:
            self.close_connection = True

    def do_GET(self) -> None:
        self._head("application/json")
        self.wfile.write(json.dumps(self.agent.health()).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _head(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()

    def _send(self, event: str, data: Json) -> None:
        try:
            self.wfile.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())
        except OSError as error:
            raise GoneError from error


if __name__ == "__main__":
    import sys

    tutor = Agent("tutor", "Tutor", capabilities=["sums"], tools=["calculator"])

    @tutor.handler
    def teach(call: Call) -> Iterator[str]:
        """Work a sum out with a tool, and have another agent say something to it."""
        call.state("calculating")
        yield f"{call.text} is {call.tool('calculator', expression=call.text)['result']}. "
        yield call.ask("assistant", "Say it in other words.")

    tutor.serve(int(sys.argv[1]), register_at=sys.argv[2])
