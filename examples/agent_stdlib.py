"""An external agent in the standard library alone: `python3 examples/agent_stdlib.py [PORT]`."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Agent(BaseHTTPRequestHandler):
    """Answers POST /invoke with server-sent events and GET /health with its capabilities."""

    def do_POST(self) -> None:
        """Stream an answer word by word, then say that it is whole."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = f"You said: {request['input_message']['content']}"
        self._head("text/event-stream")
        self._event("state", {"state": "thinking", "detail": "counting words"})
        for word in answer.split():
            self._event("delta", {"text": f"{word} ", "run_id": request["run_id"]})
        usage = {"completion_tokens": len(answer.split())}
        self._event("done", {"final_message": f"{answer} ", "usage": usage})

    def do_GET(self) -> None:
        """Say how the agent is."""
        self._head("application/json")
        health = {"status": "ok", "version": "1.0", "capabilities": ["echo"]}
        self.wfile.write(json.dumps(health).encode())

    def _head(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()

    def _event(self, name: str, data: dict[str, object]) -> None:
        self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    server = ThreadingHTTPServer(("127.0.0.1", port), Agent)
    print(f"agent on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
