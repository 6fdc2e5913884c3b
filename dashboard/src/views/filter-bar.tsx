import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { addTyped, EVERYTHING, isEverything, toggleStatus, type Filter } from "../model/filter";
import { STATUSES } from "../model/task";
import { STATUS_MEANINGS, STATUS_WORDS } from "../model/words";
import { go } from "../state/route";
import type { TaskList } from "../state/task-list";
import { CloseIcon, SearchIcon, StatusIcon } from "./icons";
import { useKeys } from "./keys";

const show = (filter: Filter): void => go({ page: "list", filter });

export function FilterBar({ filter, list }: { filter: Filter; list: TaskList }) {
  return (
    <search class="filters" aria-label="Filter tasks">
      <FilterInput filter={filter} list={list} />
      <div class="statuses" role="group" aria-label="Statuses shown">
        {STATUSES.map((status) => (
          <button
            key={status}
            type="button"
            class="chip"
            data-status={status}
            aria-pressed={filter.statuses.includes(status)}
            title={STATUS_MEANINGS[status]}
            onClick={() => show(toggleStatus(filter, status))}
          >
            <StatusIcon status={status} />
            {STATUS_WORDS[status]}
          </button>
        ))}
      </div>
    </search>
  );
}

function FilterInput({ filter, list }: { filter: Filter; list: TaskList }) {
  const input = useRef<HTMLInputElement>(null);
  const complaint = useSignal("");
  const suggested = useSignal<string[]>([]);
  useKeys({ "/": () => input.current!.focus() });

  function accept(typed: string): void {
    const meant = addTyped(filter, typed);
    complaint.value = typed.trim() && !meant ? "There is no such status." : "";
    if (!meant) return;
    input.current!.value = "";
    if ("taskId" in meant) go({ page: "task", id: meant.taskId });
    else show(meant.filter);
  }

  function pressed(event: KeyboardEvent): void {
    if (event.key === "Enter") accept(input.current!.value);
    if (event.key === "Escape") input.current!.blur();
    if (event.key === "Backspace" && !input.current!.value) show(withoutLast(filter));
  }

  /** A suggestion that was picked arrives whole, in one event. */
  function changed(event: InputEvent): void {
    complaint.value = "";
    if (event.inputType === "insertReplacementText" || !("inputType" in event)) accept(input.current!.value);
  }

  return (
    <div class="filter-input" onClick={() => input.current!.focus()}>
      <SearchIcon />
      {filter.type && <Pill word={`type:${filter.type}`} without={{ ...filter, type: "" }} />}
      {filter.queue && <Pill word={`queue:${filter.queue}`} without={{ ...filter, queue: "" }} />}
      {filter.labels.map(([key, value]) => (
        <Pill
          key={key}
          word={`${key}=${value}`}
          without={{ ...filter, labels: filter.labels.filter(([other]) => other !== key) }}
        />
      ))}
      <input
        ref={input}
        type="text"
        aria-label="Filter by type, queue or label, or open a task by its id"
        aria-describedby="filter-complaint"
        placeholder={isEverything({ ...filter, statuses: [] }) ? "type, queue:…, label=value or task id" : ""}
        list="filter-suggestions"
        autocomplete="off"
        spellcheck={false}
        onFocus={() => (suggested.value = suggestions(list))}
        onKeyDown={pressed}
        onInput={changed}
      />
      <datalist id="filter-suggestions">
        {suggested.value.map((word) => (
          <option key={word} value={word} />
        ))}
      </datalist>
      <span id="filter-complaint" class="complaint">
        {complaint}
      </span>
      {isEverything(filter) ? (
        <kbd title="Press / to filter">/</kbd>
      ) : (
        <button type="button" class="quiet" onClick={() => show(EVERYTHING)}>
          Clear
        </button>
      )}
    </div>
  );
}

const Pill = ({ word, without }: { word: string; without: Filter }) => (
  <span class="pill">
    {word}
    <button type="button" aria-label={`Remove the filter ${word}`} onClick={() => show(without)}>
      <CloseIcon />
    </button>
  </span>
);

function withoutLast(filter: Filter): Filter {
  if (filter.labels.length) return { ...filter, labels: filter.labels.slice(0, -1) };
  return filter.queue ? { ...filter, queue: "" } : { ...filter, type: "" };
}

/** What the loaded tasks would be found by. */
function suggestions(list: TaskList): string[] {
  const words = new Set<string>();
  for (const task of list.all()) {
    words.add(`type:${task.type}`).add(`queue:${task.queue}`);
    for (const [key, value] of task.labels) words.add(`${key}=${value}`);
    if (words.size > 200) break;
  }
  return [...words].sort();
}
