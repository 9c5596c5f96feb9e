/**
 * Templates as jinja2 3.1 renders them in the environment of transformers' `apply_chat_template`: a sandbox with
 * trim_blocks, lstrip_blocks, loop controls, `{% generation %}`, `raise_exception` and `strftime_now`.
 *
 * The result is jinja2's, character for character, or an error: what is not supported is refused by its name, since
 * a prompt that differs in silence gives another answer. `test/vectors/jinja` holds it to that.
 */
import type { Loads, Statement } from "./ast.ts";
import { withBudget } from "./budget.ts";
import { TemplateFault, TemplateRefusal } from "./errors.ts";
import { run } from "./execute.ts";
import { Frame } from "./frame.ts";
import { toValue } from "./from-json.ts";
import { globalFunctions } from "./globals.ts";
import { parseTemplate } from "./parser.ts";
import { resolveNames } from "./scopes.ts";

export { TemplateFault, TemplateRefusal };

/** In characters. The longest that are in use have some 20,000. */
const MAX_SOURCE = 1 << 20;

export class JinjaTemplate {
  /** The names that it reads from its context. */
  readonly reads: ReadonlySet<string>;
  readonly #body: readonly Statement[];
  readonly #loads: Loads;

  /** @throws TemplateFault if the template cannot be read */
  constructor(source: string) {
    if (source.length > MAX_SOURCE) throw new TemplateFault("it is longer than a megabyte");
    const body = orFault(() => parseTemplate(source));
    const { loads, reads } = orFault(() => withBudget(() => resolveNames(body)));
    this.#body = body;
    this.#loads = loads;
    this.reads = reads;
  }

  /**
   * @param variables JSON values
   * @throws TemplateRefusal if the template raises one, TemplateFault if it fails or does too much
   */
  render(variables: Readonly<Record<string, unknown>>, now: () => Date = () => new Date()): string {
    return orFault(() =>
      withBudget(() => {
        const context = new Map(globalFunctions(now));
        for (const [name, value] of Object.entries(variables)) context.set(name, toValue(value));
        const frame = new Frame(context);
        frame.enter(this.#loads);
        return run(this.#body, frame);
      }),
    );
  }
}

/** Whether a name is one of the functions that every template has. */
export function isFunction(name: string): boolean {
  return globalFunctions(() => new Date(0)).has(name);
}

/** @throws TemplateFault if a value can't be a variable: what JSON does not have, or too large or deep */
export function checkVariable(value: unknown): void {
  orFault(() => withBudget(() => toValue(value)));
}

/** Makes a fault of the runtime's own errors: a stack that is too deep, a text that is too long. */
function orFault<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof RangeError)
      throw new TemplateFault("it is nested too deeply, or makes a text that is too long");
    throw error;
  }
}
