import { useSignal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { sentence } from "../api/http";
import { announce } from "../state/announce";
import type { TaskStory } from "../state/task-story";

export function CancelDialog({ story, onClose }: { story: TaskStory; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const reason = useRef<HTMLInputElement>(null);
  const complaint = useSignal("");
  const busy = useSignal(false);
  useLayoutEffect(() => dialog.current!.showModal(), []);

  async function cancel(event: Event) {
    event.preventDefault();
    busy.value = true;
    try {
      await story.cancel(reason.current!.value.trim());
      announce("The task is cancelled.");
      dialog.current!.close();
    } catch (error) {
      complaint.value = sentence(error);
      busy.value = false;
    }
  }

  return (
    <dialog ref={dialog} onClose={onClose} aria-labelledby="cancel-title">
      <form onSubmit={(event) => void cancel(event)}>
        <h2 id="cancel-title">Cancel this task?</h2>
        <p>A cancel is final at once. A running handler is told to stop.</p>
        <label for="cancel-reason">Reason, for others to read (optional)</label>
        <input id="cancel-reason" ref={reason} type="text" maxLength={1024} autocomplete="off" />
        {complaint.value && (
          <p class="complaint" role="alert">
            {complaint}
          </p>
        )}
        <div class="actions">
          <button type="button" onClick={() => dialog.current!.close()}>
            Keep it
          </button>
          <button type="submit" class="danger" disabled={busy.value}>
            Cancel task
          </button>
        </div>
      </form>
    </dialog>
  );
}
