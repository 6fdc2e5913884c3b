import { useEffect, useMemo, useRef } from "preact/hooks";
import { EVERYTHING, isEverything, toAddress, type Filter } from "../model/filter";
import { amount, plural } from "../model/words";
import { lastList, linkTo } from "../state/route";
import { MOST_TASKS, TaskList } from "../state/task-list";
import { FilterBar } from "./filter-bar";
import { PauseIcon, PlayIcon } from "./icons";
import { useKeys } from "./keys";
import { TaskTable } from "./task-table";

/** Where the list was when it was left for a task; one returns to the same place. */
let left = { address: "", length: 0, top: 0 };

export function ListPage({ filter }: { filter: Filter }) {
  const address = toAddress(filter);
  const place = left.address === address ? left : { address, length: 0, top: 0 };
  const list = useMemo(() => new TaskList(filter, place.length), [address]);
  useEffect(() => {
    lastList.value = linkTo({ page: "list", filter });
    return () => list.close();
  }, [list]);
  useKeys({ p: () => (list.paused.value ? list.resume() : list.pause()) });

  // A filter that was just changed shows the tasks of the one before until its own are there.
  const before = useRef(list);
  const ready = list.order.value.length > 0 || !list.loading.value;
  if (ready) before.current = list;
  const shown = before.current;
  return (
    <main class="list-page">
      <h1 class="unseen">Tasks</h1>
      <FilterBar filter={filter} list={list} />
      <TaskTable
        key={toAddress(shown.filter)}
        list={shown}
        top={place.top}
        onLeave={(top) => (left = { address: toAddress(shown.filter), length: shown.order.value.length, top })}
      />
      <Nothing list={list} filter={filter} />
      <Footer list={list} />
    </main>
  );
}

/** What stands where no task does. */
function Nothing({ list, filter }: { list: TaskList; filter: Filter }) {
  if (list.order.value.length || list.loading.value) return null;
  if (list.failure.value) return <p class="nothing">{list.failure}</p>;
  return (
    <p class="nothing">
      {isEverything(filter) ? (
        <>
          No tasks yet. <a href={linkTo({ page: "submit" })}>Submit one</a>, and follow it here.
        </>
      ) : (
        <>
          No task matches. <a href={linkTo({ page: "list", filter: EVERYTHING })}>Show all tasks</a>
        </>
      )}
    </p>
  );
}

function Footer({ list }: { list: TaskList }) {
  const length = list.order.value.length;
  const paused = list.paused.value;
  const missed = list.missed.value;
  return (
    <footer class="list-footer">
      <span>
        {list.loading.value && !length ? "Loading …" : counted(length, list.more.value)}
        {length > 0 && list.failure.value && <span class="complaint"> {list.failure}</span>}
      </span>
      <button type="button" class="quiet" aria-pressed={paused} onClick={() => (paused ? list.resume() : list.pause())}>
        {paused ? <PlayIcon /> : <PauseIcon />}
        {paused ? "Resume" : "Pause"}
        {paused && missed > 0 && <span class="muted"> {plural(missed, "change")} held back</span>}
      </button>
    </footer>
  );
}

function counted(length: number, more: boolean): string {
  if (!more) return plural(length, "task");
  return length >= MOST_TASKS
    ? `The newest ${amount(length)} tasks; a filter finds older ones`
    : `The newest ${amount(length)} tasks`;
}
