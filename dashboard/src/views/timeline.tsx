/** What happened to a task: its events by attempt, with the time that lies between them. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Status, Task, TaskEvent } from "../model/task";
import { amount, EVENT_WORDS, plural, span, timeOfDay } from "../model/words";
import { now } from "../state/clock";
import { StatusIcon } from "./icons";
import { Took, Until } from "./moments";

interface Chapter {
  /** 0: before the first attempt. */
  readonly attempt: number;
  readonly events: readonly TaskEvent[];
}

/** Events by attempt. What happens between two attempts ends the earlier one. */
export function chapters(events: readonly TaskEvent[]): Chapter[] {
  const found: { attempt: number; events: TaskEvent[] }[] = [];
  for (const event of events) {
    const current = found.at(-1);
    if (!current || event.type === "STARTED" || current.events.at(-1)?.type === "RETRY_SCHEDULED") {
      found.push({ attempt: event.attempt, events: [event] });
    } else current.events.push(event);
  }
  return found;
}

export function Timeline({ task, events, firstKept }: { task: Task; events: readonly TaskEvent[]; firstKept: number }) {
  const parts = chapters(events);
  const longest = Math.max(1, ...parts.map((part) => length(part)));
  return (
    <section class="panel timeline" aria-label="Timeline">
      <header>
        <h2>Timeline</h2>
        <span class="muted">{plural(task.sequence, "event")}</span>
      </header>
      {firstKept > 1 && <p class="muted">Events 1 to {amount(firstKept - 1)} are no longer kept.</p>}
      {parts.map((part, index) => (
        <ChapterView key={index} chapter={part} task={task} longest={longest} last={index === parts.length - 1} />
      ))}
    </section>
  );
}

const length = (part: Chapter): number => part.events.at(-1)!.time - part.events[0]!.time;

function ChapterView({ chapter, task, longest, last }: { chapter: Chapter; task: Task; longest: number; last: boolean }) {
  const { events, attempt } = chapter;
  const begun = events[0]!;
  const started = begun.type === "STARTED";
  const ended = events.at(-1)!;
  const running = last && started && task.status === "PROCESSING";
  return (
    <div class="chapter">
      {started && (
        <div class="attempt">
          <h3>Attempt {attempt}</h3>
          <span class="muted worker">{begun.worker}</span>
          <AttemptBar events={events} longest={running ? Math.max(longest, now.value - begun.time) : longest} running={running} />
          <span class="number">{running ? <Took from={begun.time} /> : span(ended.time - begun.time)}</span>
        </div>
      )}
      <ol>
        {grouped(events).map((entry) =>
          Array.isArray(entry) ? (
            <ProgressGroup key={entry[0]!.sequence} events={entry} since={begun.time} />
          ) : (
            <EventView key={entry.sequence} event={entry} since={begun.time} />
          ),
        )}
      </ol>
    </div>
  );
}

function AttemptBar({ events, longest, running }: { events: readonly TaskEvent[]; longest: number; running: boolean }) {
  const bar = useRef<HTMLSpanElement>(null);
  const [begun, ended] = [events[0]!, events.at(-1)!];
  const taken = running ? now.value - begun.time : ended.time - begun.time;
  useEffect(() => {
    bar.current!.style.width = `${Math.min(100, Math.max(1, (100 * taken) / longest))}%`;
  }, [taken, longest]);
  return (
    <span class="span" aria-hidden="true">
      <span class="fill" ref={bar} data-status={events.at(-1)!.status} />
    </span>
  );
}

/** The entries of a chapter: a run of three or more reports of progress is one. */
function grouped(events: readonly TaskEvent[]): (TaskEvent | TaskEvent[])[] {
  const entries: (TaskEvent | TaskEvent[])[] = [];
  let run: TaskEvent[] = [];
  const close = () => {
    if (run.length > 2) entries.push(run);
    else entries.push(...run);
    run = [];
  };
  for (const event of events) {
    if (event.type === "PROGRESSED") run.push(event);
    else {
      close();
      entries.push(event);
    }
  }
  close();
  return entries;
}

/** So many reports are drawn at most when a run is opened: the latest. */
const MOST_REPORTS = 500;

function ProgressGroup({ events, since }: { events: readonly TaskEvent[]; since: number }) {
  const open = useSignal(false);
  const last = events.at(-1)!;
  const shown = events.slice(-MOST_REPORTS);
  return (
    <li class="event" data-status="PROCESSING">
      <Dot status="PROCESSING" />
      <div class="what">
        <button type="button" class="quiet" aria-expanded={open.value} onClick={() => (open.value = !open.value)}>
          {plural(events.length, "progress report")}
        </button>
        <ProgressWords event={last} />
        {open.value && (
          <ol>
            {shown.length < events.length && (
              <li class="muted">{plural(events.length - shown.length, "earlier report")} not shown</li>
            )}
            {shown.map((event) => (
              <EventView key={event.sequence} event={event} since={since} plain />
            ))}
          </ol>
        )}
      </div>
      <When event={last} since={since} />
    </li>
  );
}

function EventView({ event, since, plain = false }: { event: TaskEvent; since: number; plain?: boolean }) {
  return (
    <li class="event" data-status={event.status} data-event={event.type}>
      {!plain && <Dot status={event.status} />}
      <div class="what">
        {!plain && <span class="name">{EVENT_WORDS[event.type]}</span>}
        {event.type === "PROGRESSED" && <ProgressWords event={event} />}
        {event.nextAttempt !== undefined && event.nextAttempt > event.time && (
          <span class="muted">
            {event.nextAttempt > now.value ? <Until time={event.nextAttempt} /> : `after ${span(event.nextAttempt - event.time)}`}
          </span>
        )}
        {event.cancelReason && <span class="message">{event.cancelReason}</span>}
        {event.error && (
          <span class="message">
            <code>{event.error.code}</code> {event.error.message}
          </span>
        )}
      </div>
      <When event={event} since={since} />
    </li>
  );
}

const Dot = ({ status }: { status: Status }) => (
  <span class="dot">
    <StatusIcon status={status} />
  </span>
);

const When = ({ event, since }: { event: TaskEvent; since: number }) => (
  <time class="when number" dateTime={new Date(event.time).toISOString()} title={`Event ${event.sequence}`}>
    <span class="clock">{timeOfDay(event.time)}</span>
    <span class="muted">{event.time > since ? `+${span(event.time - since)}` : ""}</span>
  </time>
);

function ProgressWords({ event }: { event: TaskEvent }) {
  const { percent, message } = event.progress ?? {};
  return (
    <>
      {percent !== undefined && <span class="number">{Math.floor(percent)}%</span>}
      {message && <span class="message">{message}</span>}
    </>
  );
}
