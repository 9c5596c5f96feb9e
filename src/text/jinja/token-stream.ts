/** Tokens in order, with a look ahead. */
import { TemplateFault } from "./errors.ts";
import type { Token } from "./lexer.ts";

/** Levels of nesting, of tags and of expressions, that a template may have. */
const MAX_DEPTH = 100;

export class TokenStream {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get current(): Token {
    return this.#tokens[this.#at];
  }

  next(): Token {
    const token = this.current;
    if (token.type !== "end") this.#at += 1;
    return token;
  }

  /** Whether the current token, or the one after, is that name or operator. */
  is(type: "name" | "operator", text: string, ahead = 0): boolean {
    const token = this.#tokens[Math.min(this.#at + ahead, this.#tokens.length - 1)];
    return token.type === type && token.text === text;
  }

  skipIf(type: "name" | "operator", text: string): boolean {
    if (!this.is(type, text)) return false;
    this.next();
    return true;
  }

  /** @throws TemplateFault */
  expect(type: Token["type"], text?: string): Token {
    const token = this.current;
    if (token.type !== type || (text !== undefined && "text" in token && token.text !== text)) {
      throw new TemplateFault(
        `${text === undefined ? nameOfType(type) : `"${text}"`} is missing before ${describe(token)}`,
      );
    }
    return this.next();
  }

  expectName(): string {
    return (this.expect("name") as { text: string }).text;
  }

  /** Runs one level deeper. @throws TemplateFault if that is too deep */
  nested<T>(parse: () => T): T {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new TemplateFault("it is nested too deeply");
    const result = parse();
    this.#depth -= 1;
    return result;
  }

  unexpected(): TemplateFault {
    return new TemplateFault(`${describe(this.current)} is not expected there`);
  }
}

function nameOfType(type: Token["type"]): string {
  return type.replace("block", "tag").replace("_", " ");
}

export function describe(token: Token): string {
  if (token.type === "name" || token.type === "operator") return `"${token.text}"`;
  if (token.type === "end") return "the end of the template";
  return `a ${nameOfType(token.type)}`;
}
