// An external agent in Node alone: `node examples/agent_node.mjs [PORT]`.
import { createServer } from "node:http";

async function invoke(request, response) {
  const body = [];
  for await (const chunk of request) body.push(chunk);
  const { input_message, run_id } = JSON.parse(Buffer.concat(body).toString());
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  const send = (event, data) => response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  const answer = `Node heard: ${input_message.content}`;
  send("state", { state: "thinking", detail: "reading" });
  for (const word of answer.split(/(?<= )/)) send("delta", { text: word, run_id });
  send("done", { final_message: answer, usage: { completion_tokens: answer.split(" ").length } });
  response.end();
}

const server = createServer((request, response) => {
  if (request.method === "POST" && request.url === "/invoke") {
    invoke(request, response).catch(() => response.destroy());
  } else if (request.url === "/health") {
    const health = { status: "ok", version: process.version, capabilities: ["echo"] };
    response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(health));
  } else {
    response.writeHead(404).end();
  }
});
server.listen(Number(process.argv[2] ?? 8000), "127.0.0.1", () => {
  console.log(`agent on http://127.0.0.1:${server.address().port}`);
});
