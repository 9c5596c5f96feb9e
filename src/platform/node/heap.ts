/** How much garbage V8 lets lie before it looks through the whole heap. */
import { setFlagsFromString } from "node:v8";

/**
 * A forward pass leaves some megabytes of tensors, which V8 counts against a limit of a few tens: every third step of a
 * model with many adapted layers then waited 20 ms for a full collection of a heap in which hardly anything had died.
 * From here on the heap may grow to five times of what lives in it (25 MB for a small tokenizer) before that.
 *
 * A provider's long queries are megabytes of buffers, which count alike: collecting took half of its processor time.
 *
 * For programs, which own their process: a library must not change its host's. `node --heap-growing-percent=400` does
 * the same for those that use it.
 */
export function collectLessOften(): void {
  setFlagsFromString("--heap-growing-percent=400");
}
