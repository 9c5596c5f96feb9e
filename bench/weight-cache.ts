// Where benches keep weights that were quantized.
import { join } from "node:path";
import type { FileCache } from "../src/base/platform.ts";
import { nodeFileCache } from "../src/platform/node.ts";
import { benchCache } from "./seeded-model.ts";

/** Benches run from sources, which Node's threads can't: files are checked by the built script. */
const THREAD = new URL("../dist/platform/node/files/whole-file-thread.js", import.meta.url);

export function benchWeightCache(): FileCache {
  return nodeFileCache(join(benchCache(), "weights"), THREAD);
}
