// Counts the lines of a file, with progress. Payload: its path, as text.
// See docs/handlers.md for what is said on standard output.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { text } from "node:stream/consumers";

const say = (word) => console.log(JSON.stringify(word));

process.on("SIGTERM", () => {
  console.error("told to stop");
  process.exit(143);
});

const path = JSON.parse(await text(process.stdin));
const size =
  typeof path === "string" &&
  (await stat(path).then(
    (found) => found.isFile() && found.size,
    () => false,
  ));

if (typeof path !== "string") {
  say({ failed: { code: "BAD_PAYLOAD", message: "The payload must be a path, as text." } });
} else if (size === false) {
  say({ failed: { code: "NO_SUCH_FILE", message: "There is no such file." } });
} else {
  console.error(`counting ${path} for task ${process.env.TASK_ID}`);
  let read = 0;
  let lines = 0;
  for await (const chunk of createReadStream(path)) {
    read += chunk.length;
    for (const byte of chunk) lines += byte === 10 ? 1 : 0;
    say({ progress: { completed: read, total: Math.max(size, read), message: "counting" } });
  }
  say({ result: { lines } });
}
