/** Keys that act wherever the focus is, except where one writes. */

import { useLayoutEffect } from "preact/hooks";

export type Keys = Record<string, () => unknown>;

/** A dialog that was closed a moment ago may still have the focus. */
function writing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, select, dialog[open]") !== null;
}

/** While the component is there: call the function of the key that was pressed, by its name as in `KeyboardEvent.key`. */
export function useKeys(keys: Keys): void {
  // Not after the next paint: what is seen can be used at once, however busy the machine is.
  useLayoutEffect(() => {
    function pressed(event: KeyboardEvent): void {
      const act = keys[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (writing(event.target)) return;
      // A focused link or button knows what Enter means.
      if (event.key === "Enter" && event.target instanceof HTMLElement && event.target.closest("a, button")) return;
      event.preventDefault();
      act();
    }
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  });
}
