import { useEffect, useRef } from "preact/hooks";
import type { Progress, Status } from "../model/task";

/** A bar with its percentage. Where the handler has not said how much there is to do, there is no bar. */
export function ProgressBar({ progress, status, label }: { progress: Progress; status: Status; label: string }) {
  const fill = useRef<HTMLDivElement>(null);
  const { percent } = progress;
  // By hand: a style attribute would be refused by the page's Content-Security-Policy, a property is not.
  useEffect(() => fill.current?.style.setProperty("transform", `scaleX(${(percent ?? 0) / 100})`), [percent]);
  if (percent === undefined) return null;
  const shown = Math.floor(percent);
  return (
    <span class="progress" data-status={status}>
      <span
        class="track"
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={shown}
      >
        <span class="fill" ref={fill} />
      </span>
      <span class="percent">{shown}%</span>
    </span>
  );
}
