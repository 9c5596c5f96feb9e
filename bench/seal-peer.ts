// The peer of the layer bench: the same LoRA layer under general homomorphic encryption (node-seal).
import {
  type BenchOptions,
  formatBytes,
  formatTiming,
  markdownTable,
  measure,
  type Section,
  type Timing,
} from "./harness.ts";
import { layerErrorBits, type RandomLayer, randomLayer } from "./random-layer.ts";
import { FULL_PLAN, makeCkksLayer, PUBLIC_BASIS_PLAN } from "./seal/ckks-layer.ts";
import { makeCoefficientLayer } from "./seal/coefficient-layer.ts";
import { loadSeal, type SEALLibrary } from "./seal/load-seal.ts";
import { type SealLayer, saveAll, totalBytes } from "./seal/seal-layer.ts";

/** One variant's figures. Times are ms per layer and token. */
export interface PeerResult {
  readonly name: string;
  readonly parameters: string;
  readonly operations: string;
  readonly encrypt: Timing;
  readonly evaluate: Timing;
  readonly decrypt: Timing;
  /** Saving and loading both messages: kept apart, since node-seal copies bytes into wasm one by one. */
  readonly serialize: Timing;
  /** encrypt + evaluate + decrypt: what the layer costs if moving bytes were free. */
  readonly computeMs: number;
  readonly upBytes: number;
  readonly downBytes: number;
  readonly keyBytes: number;
  /** log2 of the relative error of y against the float layer. */
  readonly errorBits: number;
}

/** Error above which a variant counts as wrong: the 2^-8.4 of CKKS with two bits of grace. */
const MAX_ERROR_BITS = -6.4;

/** The shape of the headline figure: ChatGLM2-6B's query_key_value with a rank-8 adapter. */
export const PEER_SHAPE = { n: 4096, r: 8, m: 4608 } as const;

/** @param between called before, between and after the variants: what is compared with them is timed there */
export async function runPeer(
  options: BenchOptions,
  between: () => void = () => {},
): Promise<{ build: string; results: PeerResult[] }> {
  const { seal, build } = await loadSeal();
  const layer = randomLayer(PEER_SHAPE.n, PEER_SHAPE.r, PEER_SHAPE.m);
  const variants = [
    () => makeCkksLayer(seal, layer, FULL_PLAN),
    () => makeCkksLayer(seal, layer, PUBLIC_BASIS_PLAN),
    () => makeCoefficientLayer(seal, layer),
  ];
  between();
  const results = variants.map((make) => {
    const result = measureLayer(seal, make(), layer, options);
    between();
    return result;
  });
  return { build, results };
}

function measureLayer(
  seal: SEALLibrary,
  peer: SealLayer,
  layer: RandomLayer,
  options: BenchOptions,
): PeerResult {
  // Real messages are checked first; the stages are then timed on the ciphertexts of one of them.
  const { x } = layer.examples[0];
  const messages = peer.encrypt(x);
  const up = saveAll(seal, messages, "none");
  const upBytes = totalBytes(saveAll(seal, messages, "zstd"));
  const inputs = up.map(() => seal.CipherText());
  peer.receive(up, inputs);
  const replies = peer.evaluate(inputs);
  const downBytes = totalBytes(saveAll(seal, replies, "zstd"));
  const received = replies.map(() => seal.CipherText());
  const errorBits = layerErrorBits(layer, (activation) => {
    const sent = peer.encrypt(activation);
    peer.receive(saveAll(seal, sent, "none"), inputs);
    discard(sent);
    peer.receive(saveAll(seal, peer.evaluate(inputs), "none"), received);
    return peer.decrypt(received);
  });
  if (!(errorBits < MAX_ERROR_BITS)) throw new Error(`${peer.name}: wrong result, error 2^${errorBits}`);

  const runs = options.quick ? { minRuns: 3, minMs: 50 } : { minRuns: 25, minMs: 2000 };
  const encrypt = measure("encrypt", () => discard(peer.encrypt(x)), runs);
  const evaluate = measure("evaluate", () => peer.evaluate(inputs), runs);
  const decrypt = measure("decrypt", () => peer.decrypt(received), runs);
  const serialize = measure(
    "serialize",
    () => {
      peer.receive(saveAll(seal, messages, "none"), inputs);
      peer.receive(saveAll(seal, replies, "none"), received);
    },
    runs,
  );
  discard(messages);
  return {
    name: peer.name,
    parameters: peer.parameters,
    operations: peer.operations,
    encrypt,
    evaluate,
    decrypt,
    serialize,
    computeMs: encrypt.median + evaluate.median + decrypt.median,
    upBytes,
    downBytes,
    keyBytes: peer.keyBytes,
    errorBits,
  };
}

/** wasm memory is not garbage-collected. */
function discard(messages: readonly { delete(): void }[]): void {
  for (const message of messages) message.delete();
}

export async function run(options: BenchOptions): Promise<Section[]> {
  const { build, results } = await runPeer(options);
  const { n, r, m } = PEER_SHAPE;
  const header = ["variant", "client encrypt", "provider evaluate", "client decrypt", "sum", "save + load"];
  const times = results.map((p) => [
    p.name,
    formatTiming(p.encrypt),
    formatTiming(p.evaluate),
    formatTiming(p.decrypt),
    `**${p.computeMs.toFixed(1)} ms**`,
    formatTiming(p.serialize),
  ]);
  const sizes = results.map((p) => [
    p.name,
    p.parameters,
    p.operations,
    formatBytes(p.upBytes),
    formatBytes(p.downBytes),
    p.keyBytes === 0 ? "none" : formatBytes(p.keyBytes),
    `2^${p.errorBits.toFixed(1)}`,
  ]);
  const sizeHeader = [
    "variant",
    "parameters",
    "operations",
    "up",
    "down",
    "Galois keys (once)",
    "error of y",
  ];
  const body = [
    `One token, n = ${n}, r = ${r}, m = ${m}; ${build}; 128-bit parameters by SEAL's own check; median (10 … 90 %).`,
    markdownTable(header, times),
    markdownTable(sizeHeader, sizes),
    NOTES,
  ].join("\n\n");
  return [{ title: "SEAL peer", body }];
}

const NOTES = `- Uploads are symmetric and seeded; bytes are zstd-compressed by SEAL, times are without compression. Galois keys are seeded too.
- "sum" leaves out saving and loading (and with it the expansion of the seeds): the reading that favours SEAL.
- SEAL has no public hoisting: every rotation decomposes its ciphertext anew. Rotations counted are all key switches.
- The first variant stands for the paper's way; we have its abstract only (FHE, LoRA as private linear layer), the evaluation plan is ours.
- BFV/BGV with rotations were counted, not measured: two products without a rescale need a larger modulus, hence N = 8192 and at least twice the work; for Ax alone two limbs instead of one.
- The third variant is not the paper's way but the best we found in SEAL: inner products as polynomial coefficients, no rotations; masks over the other coefficients are drawn off the clock.
- No variant hides the weights from a client who studies the ciphertext noise: SEAL has no noise flooding. Adding it would only cost them more.`;
