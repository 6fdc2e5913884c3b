import { useLayoutEffect, useRef } from "preact/hooks";
import { STATUSES } from "../model/task";
import { STATUS_MEANINGS } from "../model/words";
import { StatusMark } from "./status";

const KEYS = [
  ["/", "Filter the list"],
  ["j  k", "Next, previous task"],
  ["Enter", "Open the task"],
  ["Esc", "Back, close"],
  ["p", "Pause and resume the list"],
  ["n", "New task"],
  ["l", "List of tasks"],
  ["q", "Queues and workers"],
  ["?", "This help"],
] as const;

export function Help({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => dialog.current!.showModal(), []);
  return (
    <dialog ref={dialog} class="help" onClose={onClose} aria-labelledby="help-title">
      <h2 id="help-title" tabIndex={-1} autoFocus>
        Keys
      </h2>
      <dl class="keys">
        {KEYS.map(([keys, does]) => (
          <div key={keys}>
            <dt>
              {keys.split("  ").map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <h2>Statuses</h2>
      <dl class="meanings">
        {STATUSES.map((status) => (
          <div key={status}>
            <dt>
              <StatusMark status={status} />
            </dt>
            <dd>{STATUS_MEANINGS[status]}.</dd>
          </div>
        ))}
      </dl>
      <p class="muted">
        The filter takes a type, <code>queue:name</code>, <code>label=value</code>, or a task’s id. The HTTP interface
        is described at <a href="docs">/docs</a>.
      </p>
      <div class="actions">
        <button type="button" onClick={() => dialog.current!.close()}>
          Close
        </button>
      </div>
    </dialog>
  );
}
