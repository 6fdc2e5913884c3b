/** The list on the screen. Only the rows that can be seen exist, however many tasks there are. */

import { signal, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { go } from "../state/route";
import type { TaskList } from "../state/task-list";
import { useKeys } from "./keys";
import { TaskRow } from "./task-row";

/** The heights of a row, as in the stylesheet. */
const ROW = 36;
const NARROW_ROW = 66;
const NARROW = matchMedia("(max-width: 760px)");
/** Rows drawn beyond each edge, so that a quick scroll shows no gap. */
const SPARE = 8;
/** How close to the end the next page is asked for, in rows. */
const NEAR_END = 60;

const rowHeight = signal(NARROW.matches ? NARROW_ROW : ROW);
NARROW.addEventListener("change", () => (rowHeight.value = NARROW.matches ? NARROW_ROW : ROW));

const COLUMNS = ["Status", "Task", "Progress", "Attempt", "Queue", "Priority", "Labels", "Took", "Age"];

/** The selected task outlives a visit to its page. */
const selected = signal("");

interface TaskTableProps {
  readonly list: TaskList;
  /** How far it is scrolled at first. */
  readonly top: number;
  /** Told how far it was scrolled at last. */
  readonly onLeave: (top: number) => void;
}

export function TaskTable({ list, top: firstTop, onLeave }: TaskTableProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const body = useRef<HTMLDivElement>(null);
  const top = useSignal(0);
  const room = useSignal(800);
  const anchor = useRef({ id: "", index: 0 });
  const wantsFocus = useRef(false);
  const returning = useRef(firstTop);

  const order = list.order.value;
  const more = list.more.value;
  list.changes.value; // Drawn again with every frame in which a task has changed.
  const height = rowHeight.value;
  const first = Math.max(0, Math.floor(top.value / height) - SPARE);
  const last = Math.min(order.length, Math.ceil((top.value + room.value) / height) + SPARE);
  const focusable = order.includes(selected.value) ? selected.value : order[0];

  useEffect(() => {
    const element = scroller.current!;
    const watching = new ResizeObserver(() => (room.value = element.clientHeight));
    watching.observe(element);
    return () => watching.disconnect();
  }, []);

  useLayoutEffect(() => {
    const element = scroller.current!;
    return () => onLeave(element.scrollTop);
  }, [list]);

  // What one reads stays where it is while new tasks arrive above it; at the very top they come into view.
  useLayoutEffect(() => {
    const element = scroller.current!;
    body.current!.style.height = `${order.length * height}px`;
    if (element.scrollTop > 0 && anchor.current.id) {
      const index = order.indexOf(anchor.current.id);
      if (index >= 0 && index !== anchor.current.index) element.scrollTop += (index - anchor.current.index) * height;
    }
    if (order.length && returning.current) {
      element.scrollTop = returning.current;
      top.value = element.scrollTop;
      returning.current = 0;
    }
    noteAnchor();
  }, [order, height]);

  useLayoutEffect(() => {
    body.current!.style.setProperty("--first-row", `${first * height}px`);
  }, [first, height]);

  useEffect(() => {
    if (more && last > order.length - NEAR_END) void list.loadOlder();
  });

  useLayoutEffect(() => {
    if (!wantsFocus.current) return;
    const link = body.current!.querySelector<HTMLElement>(`[data-task="${selected.value}"] a`);
    if (link) {
      wantsFocus.current = false;
      link.focus({ preventScroll: true });
    }
  });

  function noteAnchor() {
    const index = Math.min(order.length - 1, Math.floor(scroller.current!.scrollTop / height));
    anchor.current = { id: order[index] ?? "", index };
  }

  function scrolled() {
    top.value = scroller.current!.scrollTop;
    noteAnchor();
  }

  function move(step: number) {
    if (!order.length) return;
    const current = order.indexOf(selected.value);
    const index = current < 0 ? 0 : Math.min(order.length - 1, Math.max(0, current + step));
    selected.value = order[index]!;
    wantsFocus.current = true;
    const element = scroller.current!;
    if (index * height < element.scrollTop) element.scrollTop = index * height;
    const bottom = (index + 1) * height - element.clientHeight;
    if (bottom > element.scrollTop) element.scrollTop = bottom;
    top.value = element.scrollTop;
  }

  useKeys({
    j: () => move(1),
    k: () => move(-1),
    Enter: () => selected.value && order.includes(selected.value) && go({ page: "task", id: selected.value }),
  });

  return (
    <div class="table" role="table" aria-label="Tasks" aria-rowcount={more ? -1 : order.length + 1}>
      <div role="rowgroup" class="head">
        <div class="row" role="row" aria-rowindex={1}>
          {COLUMNS.map((name) => (
            <span role="columnheader" key={name} class={`cell-${name.toLowerCase()}`}>
              {name}
            </span>
          ))}
        </div>
      </div>
      <div class="scroller" role="rowgroup" ref={scroller} onScroll={scrolled}>
        <div class="body" role="presentation" ref={body}>
          <div class="window" role="presentation">
            {order.slice(first, last).map((id, offset) => {
              const task = list.get(id);
              return task && <TaskRow key={id} task={task} index={first + offset} selected={id === focusable} />;
            })}
          </div>
        </div>
      </div>
    </div>
  );
}
