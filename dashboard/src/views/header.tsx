import { link, type Link } from "../api/stream";
import { lastList, route } from "../state/route";
import { nextTheme, theme } from "../state/theme";
import { HelpIcon, PlusIcon, ThemeIcon } from "./icons";

const LINK_WORDS: Record<Link, string> = { idle: "", connecting: "Connecting", live: "Live", lost: "Reconnecting" };
const THEME_WORDS = { auto: "as the system", light: "light", dark: "dark" } as const;

export function Header({ onHelp }: { onHelp: () => void }) {
  const { page } = route.value;
  const here = (...pages: string[]) => (pages.includes(page) ? { "aria-current": "page" as const } : {});
  return (
    <header class="top">
      <a class="brand" href="#/" aria-label="Taskcast: all tasks">
        <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
          <path d="M2 3.5h12M2 8h8M2 12.5h4" />
        </svg>
        <span>Taskcast</span>
      </a>
      <nav aria-label="Pages">
        <a href={lastList.value} {...here("list", "task")}>
          Tasks
        </a>
        <a href="#/system" {...here("system")}>
          Queues
        </a>
      </nav>
      <LinkState />
      <button
        type="button"
        class="quiet square"
        onClick={nextTheme}
        aria-label={`Colours: ${THEME_WORDS[theme.value]}`}
        title={`Colours: ${THEME_WORDS[theme.value]}`}
      >
        <ThemeIcon theme={theme.value} />
      </button>
      <button
        type="button"
        class="quiet square help-button"
        onClick={onHelp}
        aria-label="Help and keys"
        title="Help and keys (?)"
      >
        <HelpIcon />
      </button>
      <a class="button primary" href="#/submit" {...here("submit")}>
        <PlusIcon />
        <span>
          New<span class="wide"> task</span>
        </span>
      </a>
    </header>
  );
}

/** Quiet while all is well. */
function LinkState() {
  return (
    <span class="link" data-link={link.value} role="status">
      <span class="lamp" aria-hidden="true" />
      <span class="words">{LINK_WORDS[link.value]}</span>
    </span>
  );
}
