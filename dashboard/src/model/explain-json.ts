/** What is wrong with a text that should be JSON, and where. Engines differ in what they say, and often leave out the place. */

class Flaw extends Error {
  constructor(
    readonly at: number,
    message: string,
  ) {
    super(message);
  }
}

/** A sentence with line and column; empty if the text is JSON. */
export function explainJson(text: string): string {
  try {
    new Reader(text).whole();
    JSON.parse(text);
    return "";
  } catch (error) {
    if (!(error instanceof Flaw)) return `This is not JSON: ${(error as Error).message}.`;
    const before = text.slice(0, error.at).split("\n");
    return `Line ${before.length}, column ${before.at(-1)!.length + 1}: ${error.message}.`;
  }
}

const SPACE = /[ \t\n\r]*/y;
const LITERAL = /(?:true|false|null)\b|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const DEEPEST = 500;

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  whole(): void {
    this.value(0);
    if (this.next() !== "") this.fail("there is more after the end of the value");
  }

  private value(depth: number): void {
    if (depth > DEEPEST) this.fail("it is nested too deeply");
    const next = this.next();
    if (next === "{") this.list("}", () => this.member(depth));
    else if (next === "[") this.list("]", () => this.value(depth + 1));
    else if (next === '"') this.string();
    else if (!this.skip(LITERAL)) this.fail(this.insteadOfValue(next));
  }

  private member(depth: number): void {
    if (this.next() !== '"') this.fail("a key in double quotes is expected");
    this.string();
    if (this.next() !== ":") this.fail("a colon is expected after the key");
    this.at++;
    this.value(depth + 1);
  }

  /** What stands between brackets, with commas between its parts. */
  private list(end: string, part: () => void): void {
    this.at++;
    if (this.next() === end) {
      this.at++;
      return;
    }
    for (;;) {
      part();
      const next = this.next();
      this.at++;
      if (next === end) return;
      if (next !== ",") this.fail(next ? `a comma or ${end} is expected` : `${end} is missing`, this.at - 1);
      if (this.next() === end) this.fail(`there is a comma before ${end}`);
    }
  }

  private string(): void {
    if (this.skip(STRING)) return;
    const end = this.text.slice(this.at + 1).search(/["\n]/);
    this.fail(
      end < 0 || this.text[this.at + 1 + end] === "\n"
        ? "the string does not end on its line"
        : "the string has a wrong escape",
    );
  }

  private insteadOfValue(next: string): string {
    if (!next) return "a value is missing";
    if (next === "'") return "strings stand in double quotes";
    return "a value is expected: a string in double quotes, a number, true, false, null, { or [";
  }

  private next(): string {
    this.skip(SPACE);
    return this.text[this.at] ?? "";
  }

  private skip(pattern: RegExp): boolean {
    pattern.lastIndex = this.at;
    const found = pattern.test(this.text);
    if (found) this.at = pattern.lastIndex;
    return found;
  }

  private fail(message: string, at = this.at): never {
    throw new Flaw(at, message);
  }
}
