/** Light, dark, or as the system has it; remembered by this browser. */

import { signal } from "@preact/signals";

const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEY = "taskcast.theme";

function remembered(): Theme {
  try {
    return THEMES.find((each) => each === localStorage.getItem(KEY)) ?? "auto";
  } catch {
    return "auto"; // Storage may be forbidden; then the choice lasts as long as the page.
  }
}

export const theme = signal<Theme>(remembered());

export function startTheme(): void {
  theme.subscribe((value) => {
    if (value === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = value;
    try {
      localStorage.setItem(KEY, value);
    } catch {
      // As above.
    }
  });
}

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!;
}
