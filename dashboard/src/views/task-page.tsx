import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import { retryTask, sentence } from "../api/http";
import { EVERYTHING, type Filter } from "../model/filter";
import { isRetryable, isTerminal, type Task } from "../model/task";
import { contractSpan, dayAndTime, PRIORITY_WORDS, shortId } from "../model/words";
import { announce } from "../state/announce";
import { go, lastList, linkTo } from "../state/route";
import { TaskStory } from "../state/task-story";
import { CancelDialog } from "./cancel-dialog";
import { BackIcon, RetryIcon } from "./icons";
import { JsonView } from "./json-view";
import { useKeys } from "./keys";
import { Age, Took, Until } from "./moments";
import { ProgressBar } from "./progress";
import { StatusMark } from "./status";
import { Timeline } from "./timeline";

export function TaskPage({ id }: { id: string }) {
  const story = useMemo(() => new TaskStory(id), [id]);
  useEffect(() => () => story.close(), [story]);
  useKeys({ Escape: () => (location.hash = lastList.value) });
  const task = story.task.value;
  useEffect(() => {
    document.title = task ? `${task.type} · Taskcast` : "Taskcast";
    return () => (document.title = "Taskcast");
  }, [task?.type]);
  return (
    <main class="task-page">
      <a class="back" href={lastList.value}>
        <BackIcon /> Tasks
      </a>
      {task ? <Told story={story} task={task} /> : <h1 class="untold">{story.failure.value || "Loading …"}</h1>}
    </main>
  );
}

function Told({ story, task }: { story: TaskStory; task: Task }) {
  const succeeded = task.status === "SUCCESS";
  return (
    <>
      <Headline story={story} task={task} />
      <div class="columns">
        <div class="story">
          <Timeline task={task} events={story.events.value} firstKept={story.firstKept.value} />
        </div>
        <div class="facts">
          <Facts task={task} />
          <JsonView title="Payload" value={task.payload} />
          <JsonView
            title="Result"
            value={task.result}
            {...(succeeded ? {} : { absent: isTerminal(task.status) ? "It ended without one." : "There is none yet." })}
          />
        </div>
      </div>
    </>
  );
}

function Headline({ story, task }: { story: TaskStory; task: Task }) {
  const asking = useSignal(false);
  const complaint = useSignal("");

  async function retry() {
    complaint.value = "";
    try {
      const next = await retryTask(task.id);
      announce("Submitted again as a new task.");
      go({ page: "task", id: next.id });
    } catch (error) {
      complaint.value = sentence(error);
    }
  }

  return (
    <header class="headline">
      <div class="title">
        <h1>{task.type}</h1>
        <code class="task-id">{task.id}</code>
      </div>
      <div class="actions">
        {!isTerminal(task.status) && (
          <button type="button" onClick={() => (asking.value = true)}>
            Cancel task
          </button>
        )}
        {isRetryable(task.status) && (
          <button type="button" onClick={() => void retry()}>
            <RetryIcon /> Retry as a new task
          </button>
        )}
      </div>
      <div class="standing">
        <StatusMark status={task.status} large />
        <Standing task={task} />
      </div>
      {complaint.value && <p class="complaint">{complaint}</p>}
      {asking.value && <CancelDialog story={story} onClose={() => (asking.value = false)} />}
    </header>
  );
}

/** Where the task stands, in a line below its name. */
function Standing({ task }: { task: Task }) {
  if (task.status === "PROCESSING") {
    return (
      <>
        {task.progress && <ProgressBar progress={task.progress} status={task.status} label="Progress" />}
        <span class="message">{task.progress?.message}</span>
      </>
    );
  }
  if (task.status === "WAITING") {
    if (task.nextAttempt !== undefined) {
      return (
        <span>
          Next attempt <Until time={task.nextAttempt} />
        </span>
      );
    }
    return task.scheduled === undefined ? (
      <span class="muted">for a free worker</span>
    ) : (
      <span>
        Starts <Until time={task.scheduled} past="as soon as a worker is free" />
      </span>
    );
  }
  const took = task.started !== undefined && task.ended !== undefined && (
    <span class="muted">
      after <Took from={task.started} to={task.ended} />
    </span>
  );
  const reason = task.cancelReason || task.error?.message;
  return (
    <>
      {took}
      {task.error && <code>{task.error.code}</code>}
      {reason && <span class="message whole">{reason}</span>}
    </>
  );
}

const listOf = (filter: Partial<Filter>): string => linkTo({ page: "list", filter: { ...EVERYTHING, ...filter } });

function Facts({ task }: { task: Task }) {
  return (
    <section class="panel" aria-label="Facts">
      <dl>
        <Fact name="Type">
          <a href={listOf({ type: task.type })}>{task.type}</a>
        </Fact>
        <Fact name="Queue">
          <a href={listOf({ queue: task.queue })}>{task.queue}</a>
        </Fact>
        <Fact name="Priority">{PRIORITY_WORDS[task.priority]}</Fact>
        <Fact name="Attempt">
          {task.attempt || "none yet"}
          {task.attempt > 0 && task.maxAttempts > 0 && ` of at most ${task.maxAttempts}`}
        </Fact>
        {task.labels.length > 0 && (
          <Fact name="Labels">
            {task.labels.map(([key, value]) => (
              <a class="label" key={key} href={listOf({ labels: [[key, value]] })}>
                {key}={value}
              </a>
            ))}
          </Fact>
        )}
        {task.retryOf && (
          <Fact name="Retry of">
            <a href={linkTo({ page: "task", id: task.retryOf })}>
              <code>{shortId(task.retryOf)}</code>
            </a>
          </Fact>
        )}
        <Fact name="Submitted">
          {dayAndTime(task.created)}{" "}
          <span class="muted">
            (<Age since={task.created} /> ago)
          </span>
        </Fact>
        {task.scheduled !== undefined && <Fact name="Not before">{dayAndTime(task.scheduled)}</Fact>}
        {task.started !== undefined && (
          <Fact name="Waited">
            <Took from={Math.max(task.created, task.scheduled ?? 0)} to={task.started} />
          </Fact>
        )}
        {task.started !== undefined && (
          <Fact name={task.ended === undefined ? "Running for" : "Took"}>
            <Took from={task.started} to={task.ended} />
          </Fact>
        )}
        {task.attemptTimeout && <Fact name="Limit of an attempt">{contractSpan(task.attemptTimeout)}</Fact>}
        {task.timeout && <Fact name="Limit of the task">{contractSpan(task.timeout)}</Fact>}
        {task.expires !== undefined && <Fact name="Kept until">{dayAndTime(task.expires)}</Fact>}
      </dl>
    </section>
  );
}

const Fact = ({ name, children }: { name: string; children: ComponentChildren }) => (
  <div>
    <dt>{name}</dt>
    <dd>{children}</dd>
  </div>
);
