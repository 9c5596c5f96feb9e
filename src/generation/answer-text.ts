/** The text of an answer as its tokens arrive, up to a stop string. */

import { controlTextOf } from "../text/control-text.ts";
import { StreamingDetokenizer } from "../text/streaming-detokenizer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { StopStrings } from "./stop-strings.ts";

/**
 * All texts given out together are the text of all ids, without control tokens, up to the first stop string. None
 * ends within a character, and none is taken back. A stop string may be a control token, or have some in it.
 */
export class AnswerText {
  readonly #tokenizer: Tokenizer;
  readonly #detokenizer: StreamingDetokenizer;
  readonly #stops: StopStrings;

  /** @throws TacetError bad_argument for stop strings that cannot be used */
  constructor(tokenizer: Tokenizer, stops: readonly string[] = []) {
    this.#tokenizer = tokenizer;
    this.#detokenizer = new StreamingDetokenizer(tokenizer);
    this.#stops = new StopStrings(stops);
  }

  /** The stop string that ended the text. */
  get stop(): string | undefined {
    return this.#stops.found;
  }

  /** The text that is certain once this token is known. */
  push(id: number): string {
    const shown = this.#stops.push(this.#detokenizer.push(id));
    const control = this.#stops.isEmpty ? undefined : controlTextOf(this.#tokenizer, id);
    return control === undefined ? shown : shown + this.#stops.push(control, true);
  }

  /** What was held back; a stop string may turn up in it. */
  finish(): string {
    return this.#stops.push(this.#detokenizer.finish()) + this.#stops.finish();
  }
}
