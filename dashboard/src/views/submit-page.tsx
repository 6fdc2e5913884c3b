import { useSignal, type Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Fault, listQueues, listWorkers, sentence, submitTask } from "../api/http";
import { explainJson } from "../model/explain-json";
import { PRIORITIES, type Json, type Priority } from "../model/task";
import { PRIORITY_WORDS } from "../model/words";
import { announce } from "../state/announce";
import { serverNow } from "../state/clock";
import { go } from "../state/route";
import { CloseIcon, PlusIcon } from "./icons";

const UNITS = { s: 1, min: 60, h: 3_600, d: 86_400 } as const;

type Complaints = Readonly<Record<string, string>>;

export function SubmitPage() {
  const form = useRef<HTMLFormElement>(null);
  const complaints = useSignal<Complaints>({});
  const busy = useSignal(false);
  const labels = useSignal<readonly (readonly [number, string, string])[]>([]);
  const types = useSignal<readonly string[]>([]);
  const queues = useSignal<readonly string[]>([]);

  useEffect(() => {
    const leaving = new AbortController();
    // Suggestions only: the form works without them.
    listWorkers(leaving.signal)
      .then(
        (workers) => (types.value = [...new Set(workers.flatMap((worker) => (worker.types ?? []) as string[]))].sort()),
      )
      .catch(() => undefined);
    listQueues(leaving.signal)
      .then((found) => (queues.value = found.map((queue) => String(queue.name))))
      .catch(() => undefined);
    return () => leaving.abort();
  }, []);

  const field = (name: string): string => {
    const element = form.current!.elements.namedItem(name);
    return element && "value" in element ? String(element.value) : "";
  };

  function checkPayload(): unknown {
    const text = field("payload").trim();
    const problem = text ? explainJson(text) : "";
    complaints.value = { ...complaints.value, payload: problem };
    return problem || !text ? undefined : JSON.parse(text);
  }

  async function submit(event: Event) {
    event.preventDefault();
    const payload = checkPayload();
    const type = field("type").trim();
    complaints.value = { payload: complaints.value.payload ?? "", type: type ? "" : "Say which handler should run." };
    if (complaints.value.payload || complaints.value.type) return focusFirst();
    busy.value = true;
    try {
      const delay = Number(field("delay")) * UNITS[field("unit") as keyof typeof UNITS] * 1_000;
      const request: Json = {
        type,
        priority: `TASK_PRIORITY_${field("priority")}`,
        labels: Object.fromEntries(labels.value.filter(([, key]) => key).map(([, key, value]) => [key, value])),
        ...(payload === undefined ? {} : { payload }),
        ...(field("queue").trim() ? { queue: field("queue").trim() } : {}),
        ...(delay > 0 ? { scheduleTime: new Date(serverNow() + delay).toISOString() } : {}),
      };
      const task = await submitTask(request);
      announce("Submitted.");
      go({ page: "task", id: task.id });
    } catch (error) {
      complaints.value = fieldComplaints(error);
      busy.value = false;
      focusFirst();
    }
  }

  function focusFirst() {
    const name = Object.keys(complaints.value).find((each) => complaints.value[each] && each !== "form");
    const element = name && form.current!.elements.namedItem(name);
    if (element instanceof HTMLElement) element.focus();
  }

  return (
    <main class="submit-page">
      <h1>New task</h1>
      <form ref={form} onSubmit={(event) => void submit(event)} noValidate>
        <Field name="type" label="Type" hint="The handler that runs it" complaints={complaints}>
          <input
            id="type"
            name="type"
            type="text"
            list="types"
            maxLength={128}
            autocomplete="off"
            spellcheck={false}
            aria-describedby="type-note"
            autoFocus
          />
          <Options id="types" words={types.value} />
        </Field>
        <Field name="payload" label="Payload" hint="JSON; empty means null" complaints={complaints}>
          <textarea
            id="payload"
            name="payload"
            rows={9}
            spellcheck={false}
            placeholder={'{"duration": 5}'}
            aria-describedby="payload-note"
            onBlur={() => form.current && checkPayload()}
            onInput={() => complaints.value.payload && checkPayload()}
          />
        </Field>
        <div class="side-by-side">
          <Field name="queue" label="Queue" complaints={complaints}>
            <input
              id="queue"
              name="queue"
              type="text"
              list="queues"
              maxLength={64}
              placeholder="default"
              autocomplete="off"
              spellcheck={false}
              aria-describedby="queue-note"
            />
            <Options id="queues" words={queues.value} />
          </Field>
          <Field name="delay" label="Start after" complaints={complaints}>
            <div class="with-unit">
              <input
                id="delay"
                name="delay"
                type="number"
                min={0}
                step="any"
                placeholder="0"
                aria-describedby="delay-note"
              />
              <select name="unit" aria-label="Unit of the delay">
                {Object.keys(UNITS).map((unit) => (
                  <option key={unit}>{unit}</option>
                ))}
              </select>
            </div>
          </Field>
          <fieldset>
            <legend>Priority</legend>
            <div class="segments">
              {PRIORITIES.map((priority: Priority) => (
                <label key={priority}>
                  <input type="radio" name="priority" value={priority} defaultChecked={priority === "NORMAL"} />
                  <span>{PRIORITY_WORDS[priority]}</span>
                </label>
              ))}
            </div>
          </fieldset>
        </div>
        <Labels labels={labels} complaint={complaints.value.labels ?? ""} />
        {complaints.value.form && (
          <p class="complaint" role="alert">
            {complaints.value.form}
          </p>
        )}
        <div class="actions">
          <button type="submit" class="primary" disabled={busy.value}>
            Submit task
          </button>
        </div>
      </form>
    </main>
  );
}

/** What the server had against the request, by field; what belongs to no field of the form stands below it. */
function fieldComplaints(error: unknown): Complaints {
  if (!(error instanceof Fault) || !error.violations.length) return { form: sentence(error) };
  const found: Record<string, string> = {};
  for (const { field, description } of error.violations) {
    const head = field.split(/[.[]/)[0] ?? "";
    const place = { schedule_time: "delay", scheduleTime: "delay" }[head] ?? head;
    const known = ["type", "payload", "queue", "labels", "delay"].includes(place);
    found[known ? place : "form"] ??= known ? `It ${description}.` : `${field}: ${description}.`;
  }
  return found;
}

function Field(props: {
  name: string;
  label: string;
  hint?: string;
  complaints: Signal<Complaints>;
  children: ComponentChildren;
}) {
  const complaint = props.complaints.value[props.name];
  return (
    <div class={`field ${complaint ? "wrong" : ""}`}>
      <label for={props.name}>
        {props.label} {props.hint && <span class="muted">{props.hint}</span>}
      </label>
      {props.children}
      <p id={`${props.name}-note`} class="complaint" role="status">
        {complaint}
      </p>
    </div>
  );
}

const Options = ({ id, words }: { id: string; words: readonly string[] }) => (
  <datalist id={id}>
    {words.map((word) => (
      <option key={word} value={word} />
    ))}
  </datalist>
);

function Labels({
  labels,
  complaint,
}: {
  labels: Signal<readonly (readonly [number, string, string])[]>;
  complaint: string;
}) {
  const change = (row: number, key: string, value: string): void => {
    labels.value = labels.value.map((each) => (each[0] === row ? [row, key, value] : each));
  };
  const add = (): void => {
    labels.value = [...labels.value, [Math.max(0, ...labels.value.map(([row]) => row)) + 1, "", ""]];
  };
  return (
    <fieldset class="labels-field">
      <legend>
        Labels <span class="muted">Words to find it by</span>
      </legend>
      {labels.value.map(([row, key, value]) => (
        <div class="label-row" key={row}>
          <input
            type="text"
            aria-label="Label"
            placeholder="team"
            maxLength={63}
            value={key}
            autocomplete="off"
            autoFocus
            onInput={(event) => change(row, event.currentTarget.value, value)}
          />
          <span aria-hidden="true">=</span>
          <input
            type="text"
            aria-label="Value of the label"
            placeholder="blue"
            maxLength={255}
            value={value}
            autocomplete="off"
            onInput={(event) => change(row, key, event.currentTarget.value)}
          />
          <button
            type="button"
            class="quiet"
            aria-label="Remove this label"
            onClick={() => (labels.value = labels.value.filter((each) => each[0] !== row))}
          >
            <CloseIcon />
          </button>
        </div>
      ))}
      <button type="button" class="quiet" onClick={add}>
        <PlusIcon /> Add a label
      </button>
      <p class="complaint" role="status">
        {complaint}
      </p>
    </fieldset>
  );
}
