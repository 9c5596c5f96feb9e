import wasm from "onnxruntime-web/ort-wasm-simd-threaded.wasm?url";
import * as ort from "onnxruntime-web/wasm";
import { connect, TacetError } from "tacet/web";

// Where the bundler has put ONNX Runtime's WebAssembly. More threads need cross-origin isolation, and `mjs` beside `wasm`.
ort.env.wasm.wasmPaths = { wasm: new URL(wasm, location.href).href };
ort.env.wasm.numThreads = 1;

/** @type {Promise<import("tacet/web").TextClient> | undefined} */
let client;

async function open() {
  // model.json says which files the base model has: `node describe-model.mjs FOLDER` writes it.
  const base = await (await fetch("/model.json")).json();
  const { provider } = await (await fetch("/settings.json")).json();
  return await connect({ ort, base, provider });
}

self.onmessage = async ({ data: prompt }) => {
  try {
    client ??= open();
    const answer = (await client).generate(prompt);
    for await (const { text } of answer) postMessage({ text });
    postMessage({ end: (await answer.end).reason });
  } catch (error) {
    if (!(error instanceof TacetError)) throw error;
    postMessage({ error: `${error.message} ${error.hint ?? ""}` });
  }
};
