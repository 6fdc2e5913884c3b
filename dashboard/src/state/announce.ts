/** What a screen reader should say that is not where its reader looks. */

import { signal } from "@preact/signals";

export const announcement = signal("");

export function announce(text: string): void {
  announcement.value = text;
}
