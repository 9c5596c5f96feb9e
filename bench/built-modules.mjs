// node --import tsx --import ./bench/built-modules.mjs: modules of src are loaded as the build has made them, so that benches
// measure what is shipped. From sources, tsx names each function when it is made, hundreds of times a token.
import { register } from "node:module";
import { isMainThread } from "node:worker_threads";

const SOURCES = new URL("../src/", import.meta.url).href;
const BUILT = new URL("../dist/", import.meta.url).href;

if (isMainThread) register(import.meta.url);

/** A hook of Node's module loader. */
export async function resolve(specifier, context, next) {
  const found = await next(specifier, context);
  const url = found.url.split("?")[0];
  if (!url.startsWith(SOURCES) || !url.endsWith(".ts")) return found;
  return { url: `${BUILT}${url.slice(SOURCES.length, -3)}.js`, format: "module", shortCircuit: true };
}
