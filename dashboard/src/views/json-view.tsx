import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { amount } from "../model/words";
import { CopyIcon } from "./icons";

/** Longer values are cut on the screen: a browser does not lay out a megabyte of text at once. */
const MOST_SHOWN = 100_000;

/** A JSON value for people: indented, with its kinds told apart, and to be copied whole. */
export function JsonView({ title, value, absent }: { title: string; value: unknown; absent?: string }) {
  const copied = useSignal(false);
  const text = useMemo(() => JSON.stringify(value, null, 2), [value]);
  const shown = text.length > MOST_SHOWN ? text.slice(0, MOST_SHOWN) : text;
  const pieces = useMemo(() => [...colour(shown)], [shown]);

  async function copy() {
    await navigator.clipboard.writeText(text);
    copied.value = true;
    setTimeout(() => (copied.value = false), 1_500);
  }

  return (
    <section class="panel json">
      <header>
        <h2>{title}</h2>
        {absent === undefined && navigator.clipboard && (
          <button
            type="button"
            class="quiet"
            onClick={() => void copy()}
            aria-label={`Copy the ${title.toLowerCase()}`}
          >
            <CopyIcon />
            {copied.value ? "Copied" : "Copy"}
          </button>
        )}
      </header>
      {absent === undefined ? (
        <pre tabIndex={0} role="region" aria-label={title}>
          {pieces.map(([kind, piece]) => (kind ? <span class={kind}>{piece}</span> : piece))}
          {shown !== text && `\n… ${amount(text.length - shown.length)} more characters; copy it to see all`}
        </pre>
      ) : (
        <p class="muted">{absent}</p>
      )}
    </section>
  );
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

function* colour(text: string): Generator<readonly [kind: string, text: string]> {
  let end = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > end) yield ["", text.slice(end, match.index)];
    const [whole, string, colon] = match;
    if (string && colon) {
      yield ["key", string];
      yield ["", colon];
    } else yield [string ? "string" : "literal", whole];
    end = match.index + whole.length;
  }
  if (end < text.length) yield ["", text.slice(end)];
}
