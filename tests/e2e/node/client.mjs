// A client of Taskcast in Node.js: @grpc/grpc-js and the .proto files, nothing of ours.
//
//   node client.mjs ADDRESS FOLDER...
//
// FOLDERs hold the .proto files and those of google.rpc. It goes through the calls and prints what it saw as one JSON
// document; the test that runs it judges.
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import protobuf from "protobufjs";
import path from "node:path";
import fs from "node:fs";

const [address, ...folders] = process.argv.slice(2);

const options = { keepCase: true, longs: String, enums: String, defaults: false, oneofs: true, includeDirs: folders };
const packages = grpc.loadPackageDefinition(protoLoader.loadSync("taskcast/v1/task_service.proto", options));
const client = new packages.taskcast.v1.TaskService(address, grpc.credentials.createInsecure(), {
  "grpc.enable_http_proxy": 0,
});

const details = new protobuf.Root();
details.resolvePath = (_origin, target) =>
  folders.map((folder) => path.join(folder, target)).find((file) => fs.existsSync(file)) ?? target;
details.loadSync(["google/rpc/status.proto", "google/rpc/error_details.proto"]);

/** A unary call as a promise; an error of the gateway becomes what it says, taken apart. */
function call(method, request) {
  return new Promise((resolve) => {
    const deadline = Date.now() + 20_000;
    client[method](request, { deadline }, (error, answer) => resolve(error ? { error: explained(error) } : answer));
  });
}

/** Code, message and the google.rpc details of an error. */
function explained(error) {
  const found = { code: grpc.status[error.code], message: error.details, details: {} };
  for (const bytes of error.metadata?.get("grpc-status-details-bin") ?? []) {
    Object.assign(found.details, unpacked(details.lookupType("google.rpc.Status").decode(bytes).details));
  }
  return found;
}

/** The google.rpc messages in a list of Any, by their names. */
function unpacked(anys) {
  return Object.fromEntries(
    anys.map(({ type_url, value }) => {
      const type = details.lookupType(type_url.split("/").pop());
      return [type.name, type.toObject(type.decode(value), { longs: String })];
    }),
  );
}

/** Everything that a stream says, up to its end, or until `enough` says so. */
function read(stream, enough = () => false) {
  return new Promise((resolve) => {
    const updates = [];
    const done = (error) => resolve({ updates, error: error ? explained(error) : null });
    stream.on("data", (update) => {
      updates.push(update);
      if (enough(update)) stream.cancel();
    });
    stream.on("error", (error) => done(error.code === grpc.status.CANCELLED ? null : error));
    stream.on("end", () => done(null));
  });
}

// The library knows google.protobuf.Value by itself, in the camel case of JSON.
const value = (text) => ({ stringValue: text });
const steps = { structValue: { fields: { steps: { numberValue: 3 } } } };
const seen = {};

seen.submitted = await call("SubmitTask", { type: "test.steps", payload: steps, labels: { by: "node" } });
const id = seen.submitted.task.id;
seen.watched = await read(client.WatchTask({ task_id: id, after_sequence: 0 }));
seen.resumed = await read(client.WatchTask({ task_id: id, after_sequence: 2 }));
seen.got = await call("GetTask", { task_id: id });

seen.batch = await call("BatchSubmitTasks", {
  requests: [{ type: "test.echo", payload: value("ü") }, { type: "no spaces" }, { type: "test.echo" }],
});
const ids = seen.batch.results.filter(({ task }) => task).map(({ task }) => task.id);
seen.many = await read(client.WatchTasks({ task_ids: ids }));
seen.batch_errors = seen.batch.results.filter(({ error }) => error).map(({ error }) => unpackedFromAny(error.details));

seen.held = await call("SubmitTask", { type: "test.hold", payload: { structValue: { fields: { gate: value("/none") } } } });
const held = seen.held.task.id;
await read(client.WatchTask({ task_id: held }), (update) => update.event?.progress || update.snapshot?.progress);
seen.cancelled = await call("CancelTask", { task_id: held, reason: "seen enough" });

seen.refused = {
  bad_field: await call("SubmitTask", { type: "" }),
  unknown_task: await call("GetTask", { task_id: "0190aaaa-bbbb-7ccc-8ddd-eeeeffff0001" }),
  finished_task: await call("CancelTask", { task_id: id }),
  ahead: (await read(client.WatchTask({ task_id: id, after_sequence: 1_000_000 }))).error,
};

console.log(JSON.stringify(seen));
client.close();

/** Details that the loader has decoded already, as far as it knows google.protobuf.Any. */
function unpackedFromAny(anys) {
  return unpacked(anys.map((any) => ({ type_url: any.type_url, value: Buffer.from(any.value) })));
}
