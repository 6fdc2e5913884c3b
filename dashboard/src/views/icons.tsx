/** Line icons on a grid of 16. They are decoration: the text beside them, or the button's label, says the same. */

import type { ComponentChildren } from "preact";
import type { Status } from "../model/task";

function Icon({ children, size = 14 }: { children: ComponentChildren; size?: number }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width={size} height={size} aria-hidden="true">
      {children}
    </svg>
  );
}

const SHAPES: Record<Status, ComponentChildren> = {
  WAITING: <circle cx="8" cy="8" r="5.75" stroke-dasharray="2.4 2.1" />,
  PROCESSING: (
    <>
      <circle cx="8" cy="8" r="5.75" />
      <path d="M8 4.6a3.4 3.4 0 0 1 0 6.8z" class="filled" />
    </>
  ),
  SUCCESS: (
    <>
      <circle cx="8" cy="8" r="5.75" />
      <path d="m5.4 8.2 1.8 1.8 3.4-3.8" />
    </>
  ),
  FAILED: (
    <>
      <circle cx="8" cy="8" r="5.75" />
      <path d="m5.9 5.9 4.2 4.2m0-4.2-4.2 4.2" />
    </>
  ),
  ERROR: (
    <>
      <path d="M8 2.2 14.2 13H1.8z" />
      <path d="M8 6.4v3m0 1.7v.1" />
    </>
  ),
  CANCELLED: (
    <>
      <circle cx="8" cy="8" r="5.75" />
      <path d="m4 12 8-8" />
    </>
  ),
  TIMEOUT: (
    <>
      <circle cx="8" cy="8" r="5.75" />
      <path d="M8 4.8V8l2.2 1.6" />
    </>
  ),
};

/** The shape of a status: each can be told from the others without its colour. */
export const StatusIcon = ({ status, size = 14 }: { status: Status; size?: number }) => (
  <Icon size={size}>{SHAPES[status]}</Icon>
);

export const PlusIcon = () => (
  <Icon>
    <path d="M8 3v10M3 8h10" />
  </Icon>
);
export const CloseIcon = ({ size = 10 }: { size?: number }) => (
  <Icon size={size}>
    <path d="m3 3 10 10M13 3 3 13" />
  </Icon>
);
export const PauseIcon = () => (
  <Icon>
    <path d="M5.5 3.5v9m5-9v9" />
  </Icon>
);
export const PlayIcon = () => (
  <Icon>
    <path d="M5 3.2v9.6L12.6 8z" />
  </Icon>
);
export const SearchIcon = () => (
  <Icon>
    <circle cx="7" cy="7" r="4.2" />
    <path d="m10.2 10.2 3.3 3.3" />
  </Icon>
);
export const BackIcon = () => (
  <Icon>
    <path d="M9.8 3.2 5 8l4.8 4.8" />
  </Icon>
);
export const HelpIcon = () => (
  <Icon>
    <path d="M5.6 6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2.9-1.2 1.7m0 2.4v.1" />
  </Icon>
);
export const RetryIcon = () => (
  <Icon>
    <path d="M13 8a5 5 0 1 1-1.5-3.6M13 2.4v2.7h-2.7" />
  </Icon>
);
export const CopyIcon = () => (
  <Icon>
    <rect x="5.5" y="5.5" width="7.5" height="7.5" rx="1.2" />
    <path d="M10.5 3H4.2C3.5 3 3 3.5 3 4.2v6.3" />
  </Icon>
);

const THEME_SHAPES = {
  auto: (
    <>
      <circle cx="8" cy="8" r="5.25" />
      <path d="M8 2.75a5.25 5.25 0 0 1 0 10.5z" class="filled" />
    </>
  ),
  light: (
    <>
      <circle cx="8" cy="8" r="2.8" />
      <path d="M8 1.5v1.3m0 10.4v1.3M1.5 8h1.3m10.4 0h1.3M3.4 3.4l.9.9m7.4 7.4.9.9m0-9.2-.9.9m-7.4 7.4-.9.9" />
    </>
  ),
  dark: <path d="M13 9.6A5.4 5.4 0 0 1 6.4 3a5.4 5.4 0 1 0 6.6 6.6z" />,
} as const;

export const ThemeIcon = ({ theme }: { theme: keyof typeof THEME_SHAPES }) => <Icon>{THEME_SHAPES[theme]}</Icon>;
