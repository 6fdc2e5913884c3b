import { Component } from "preact";
import type { Task } from "../model/task";
import { PRIORITY_WORDS, shortId } from "../model/words";
import { Age, Took, Until } from "./moments";
import { ProgressBar } from "./progress";
import { StatusMark } from "./status";

export interface TaskRowProps {
  readonly task: Task;
  readonly index: number;
  readonly selected: boolean;
}

/** One line of the list. It is drawn again only if its task has changed. */
export class TaskRow extends Component<TaskRowProps> {
  override shouldComponentUpdate(next: TaskRowProps): boolean {
    return next.task !== this.props.task || next.index !== this.props.index || next.selected !== this.props.selected;
  }

  override render({ task, index, selected }: TaskRowProps) {
    return (
      <div class="row" role="row" aria-rowindex={index + 2} data-selected={selected} data-task={task.id}>
        <span role="cell" class="cell-status">
          <StatusMark status={task.status} />
        </span>
        <span role="cell" class="cell-type">
          <a href={`#/tasks/${task.id}`} tabIndex={selected ? 0 : -1} title={task.id}>
            {task.type}
          </a>
          <code>{shortId(task.id)}</code>
        </span>
        <span role="cell" class="cell-outlook">
          <Outlook task={task} />
        </span>
        <span role="cell" class="cell-attempt number">
          {task.attempt || <span class="muted">–</span>}
          {task.attempt > 0 && task.maxAttempts > 0 && <span class="muted"> / {task.maxAttempts}</span>}
        </span>
        <span role="cell" class="cell-queue">
          {task.queue}
        </span>
        <span role="cell" class="cell-priority" data-priority={task.priority}>
          {PRIORITY_WORDS[task.priority]}
        </span>
        <span role="cell" class="cell-labels">
          {task.labels.map(([key, value]) => (
            <span class="label" key={key} title={`${key}=${value}`}>
              {key}={value}
            </span>
          ))}
        </span>
        <span role="cell" class="cell-took number">
          {task.started === undefined ? <span class="muted">–</span> : <Took from={task.started} to={task.ended} />}
        </span>
        <span role="cell" class="cell-age number">
          <Age since={task.created} />
        </span>
      </div>
    );
  }
}

/** What there is to say about a task in one line: how far it is, or why it is not. */
function Outlook({ task }: { task: Task }) {
  if (task.status === "CANCELLED") return <span class="message">{task.cancelReason}</span>;
  if (task.status === "WAITING") {
    if (task.nextAttempt !== undefined) {
      return (
        <span class="message">
          Retry <Until time={task.nextAttempt} /> · {task.error?.message || task.error?.code}
        </span>
      );
    }
    if (task.scheduled !== undefined && !task.attempt) {
      return (
        <span class="message">
          Starts <Until time={task.scheduled} past="as soon as a worker is free" />
        </span>
      );
    }
    return null;
  }
  if (task.error) {
    return (
      <span class="message" title={task.error.message}>
        <code>{task.error.code}</code> {task.error.message}
      </span>
    );
  }
  if (!task.progress) return null;
  return (
    <>
      {task.status === "PROCESSING" && (
        <ProgressBar progress={task.progress} status={task.status} label={`Progress of ${task.type}`} />
      )}
      <span class="message">{task.progress.message}</span>
    </>
  );
}
