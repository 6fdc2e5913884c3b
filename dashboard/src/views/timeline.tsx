/** What happened to a task: its events by attempt, with the time that lies between them. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { chapters, type Chapter } from "../model/chapters";
import type { Status, Task, TaskEvent } from "../model/task";
import { EVENT_WORDS, plural, span, timeOfDay } from "../model/words";
import { now } from "../state/clock";
import { StatusIcon } from "./icons";
import { Took, Until } from "./moments";

export function Timeline({ task, events, firstKept }: { task: Task; events: readonly TaskEvent[]; firstKept: number }) {
  const parts = chapters(task, events);
  const longest = Math.max(1, ...parts.map(length));
  return (
    <section class="panel timeline" aria-label="Timeline">
      <header>
        <h2>Timeline</h2>
        <span class="muted">{plural(task.sequence, "event")}</span>
      </header>
      {firstKept > 1 && <p class="muted">Some of the first {plural(firstKept - 1, "event")} are no longer kept.</p>}
      {parts.map((part) => (
        <ChapterView key={`${part.attempt}/${part.begun}`} chapter={part} longest={longest} />
      ))}
    </section>
  );
}

const length = ({ begun, ended = now.value }: Chapter): number => Math.max(0, ended - begun);

function ChapterView({ chapter, longest }: { chapter: Chapter; longest: number }) {
  const { attempt, begun, ended, worker, status, events } = chapter;
  return (
    <div class="chapter">
      {attempt > 0 && (
        <div class="attempt">
          <h3>Attempt {attempt}</h3>
          <span class="muted worker">{worker}</span>
          <AttemptBar part={length(chapter) / longest} status={status} />
          <span class="number">
            <Took from={begun} to={ended} />
          </span>
        </div>
      )}
      <ol>
        {grouped(events).map((entry) =>
          Array.isArray(entry) ? (
            <ProgressGroup key={entry[0]!.sequence} events={entry} since={begun} />
          ) : (
            <EventView key={entry.sequence} event={entry} since={begun} />
          ),
        )}
      </ol>
    </div>
  );
}

function AttemptBar({ part, status }: { part: number; status: Status }) {
  const bar = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    bar.current!.style.width = `${Math.min(100, Math.max(1, 100 * part))}%`;
  }, [part]);
  return (
    <span class="span" aria-hidden="true">
      <span class="fill" ref={bar} data-status={status} />
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
            {event.nextAttempt > now.value ? (
              <Until time={event.nextAttempt} />
            ) : (
              `after ${span(event.nextAttempt - event.time)}`
            )}
          </span>
        )}
        {event.cancelReason && <span class="message">{event.cancelReason}</span>}
      </div>
      <When event={event} since={since} />
      {event.error && (
        <p class="message">
          <code>{event.error.code}</code> {event.error.message}
        </p>
      )}
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
