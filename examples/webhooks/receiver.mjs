// A receiver of Taskcast's webhooks: verifies each one, and hears of each event once.
//
//   npm install
//   TASKCAST_WEBHOOK_SECRET=whsec_… node receiver.mjs 9000

import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const MOST_BYTES = 1 << 20;
const REMEMBERED = 10_000; // Ids of webhooks that have been dealt with. A real receiver keeps them with its data.

// Several secrets, separated by commas, while one replaces the other.
const secrets = process.env.TASKCAST_WEBHOOK_SECRET.split(",").map((secret) => new Webhook(secret));
const seen = new Set();

function verified(body, headers) {
  for (const secret of secrets) {
    try {
      return secret.verify(body, headers);
    } catch {
      // Perhaps another one has signed it.
    }
  }
  return undefined;
}

async function bodyOf(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MOST_BYTES) throw new Error("too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

// 2xx means that the webhook is dealt with, anything else that it shall come again.
async function receive(request, response) {
  if (request.method !== "POST" || request.url !== "/hook") {
    response.writeHead(404).end();
    return;
  }
  const content = verified(await bodyOf(request), request.headers);
  if (content === undefined) {
    response.writeHead(401).end();
    return;
  }
  const id = request.headers["webhook-id"];
  // A webhook comes at least once: the id tells a repetition.
  if (!seen.has(id)) {
    const event = content.data;
    console.log(`${content.type} of task ${event.taskId}, event ${event.sequence}`);
    seen.add(id);
    if (seen.size > REMEMBERED) seen.delete(seen.values().next().value);
  }
  response.writeHead(204).end();
}

const server = createServer((request, response) => {
  receive(request, response).catch(() => response.writeHead(400).end());
});
server.listen(Number(process.argv[2] ?? 9000), "127.0.0.1");
