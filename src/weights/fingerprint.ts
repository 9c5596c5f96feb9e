/**
 * A base model's two fingerprints, 32 bytes each. The first tells two checkpoints apart:
 *
 *   SHA-256 over fields, each preceded by its length in bytes as 4 little-endian bytes:
 *   "tacet/base-model/1", the configuration as canonical JSON, then for each tensor, by name in the order of
 *   UTF-16 code units: [name, dtype, shape] as JSON, and its sampled bytes.
 *
 * Tensors up to 1 MiB are hashed whole, larger ones in 16 windows of 4 KiB, evenly spaced, the first and the
 * last bytes among them: a fine-tune or another quantization changes all of a matrix, and a model of 12 GB
 * is told in a second. It is a check against mistakes. It identifies and does not authenticate: someone who
 * changes a few weights between the windows on purpose keeps the fingerprint.
 *
 * The second is the same for a checkpoint and for its quantized copies, which keep its norms and biases:
 *
 *   SHA-256 over fields as above: "tacet/base-vectors/1", the sizes as canonical JSON, then for each vector, by name:
 *   its name, its length as decimal text, and its values as binary16, little-endian.
 *
 * A value is rounded to binary16 with ties to even; what is then below 2^-14 in size, the least normal number, is +0.
 * So copies in F32, F16 and BF16 agree where the original is BF16 or F16, and copies in F32 and F16 where it is F32. A
 * copy that holds 1 + w in F32, as GGUF does for some families, gives back w of a BF16 original: exactly from 2^-16 on,
 * and all below is +0. A vector of zeros is left out: some quantizers write a bias of zeros that the original lacks.
 *
 * It is the weaker check. Fine-tunes that train only matrices, or are merged LoRAs, share all vectors with their base.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { utf8 } from "../base/bytes.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { isRecord } from "./json-file.ts";
import { toFloat16 } from "../base/float16.ts";
import { readTensorBytes, readTensorF32, type StoredTensor, type TensorInfo } from "./safetensors.ts";

const DOMAIN = "tacet/base-model/1";
const VECTORS_DOMAIN = "tacet/base-vectors/1";
/** Bits of the least normal binary16 number, 2^-14. */
const LEAST_NORMAL = 0x400;
/** Largest tensor that is hashed whole, in bytes. */
const WHOLE_BYTES = 1 << 20;
const WINDOWS = 16;
const WINDOW_BYTES = 4096;

/**
 * Fields of config.json that say how a checkpoint was made, trained or used, never what function it is. All
 * others count, known or not: a difference too many is a clear error, one too few would be silent.
 */
const INERT_FIELDS: ReadonlySet<string> = new Set([
  "_name_or_path",
  "_attn_implementation",
  "architectures",
  "attention_dropout",
  "attn_pdrop",
  "auto_map",
  "bos_token_id",
  "dtype",
  "embd_pdrop",
  "eos_token_id",
  "hidden_dropout",
  "initializer_range",
  "max_length",
  "output_attentions",
  "output_hidden_states",
  "pad_token_id",
  "pretraining_tp",
  "resid_pdrop",
  "task_specific_params",
  "torch_dtype",
  "transformers_version",
  "use_cache",
]);

/** Of checkpoints that are open: thousands of small reads each. */
const KNOWN = new WeakMap<Checkpoint, Promise<Uint8Array>>();

/** SHA-256 as above, whatever files the tensors are spread over; computed once for an opened checkpoint. */
export async function fingerprintCheckpoint(checkpoint: Checkpoint): Promise<Uint8Array> {
  let known = KNOWN.get(checkpoint);
  if (!known) {
    KNOWN.set(checkpoint, (known = computeFingerprint(checkpoint)));
    known.catch(() => KNOWN.delete(checkpoint));
  }
  return (await known).slice();
}

async function computeFingerprint(checkpoint: Checkpoint): Promise<Uint8Array> {
  const { tree, config, names, tensor } = checkpoint.files ?? checkpoint;
  const { add, digest } = fieldHash();
  add(utf8(DOMAIN));
  add(utf8(canonicalConfig(config)));
  for (const name of names) {
    const info = tensor(name);
    add(utf8(JSON.stringify([name, info.dtype, info.shape])));
    // All windows of a tensor at the same time: most of it is waiting for the disk.
    for (const bytes of await Promise.all(windowsOf(info).map((window) => readTensorBytes(tree, window))))
      add(bytes);
  }
  return digest();
}

/**
 * The second fingerprint.
 *
 * @param sizes whatever says how large the model is, spelled the same for all copies
 * @param vectors norms and biases that a forward pass uses, by the names that the original has for them
 */
export async function fingerprintVectors(
  sizes: object,
  vectors: ReadonlyMap<string, StoredTensor>,
): Promise<Uint8Array> {
  const { add, digest } = fieldHash();
  add(utf8(VECTORS_DOMAIN));
  add(utf8(canonicalJson(sizes)));
  for (const name of [...vectors.keys()].sort()) {
    const { tree, info } = vectors.get(name)!;
    const halves = toFloat16(await readTensorF32(tree, info));
    let isZero = true;
    const bytes = new Uint8Array(2 * halves.length);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < halves.length; i++) {
      if ((halves[i] & 0x7fff) < LEAST_NORMAL) continue;
      view.setUint16(2 * i, halves[i], true);
      isZero = false;
    }
    if (isZero) continue;
    for (const field of [utf8(name), utf8(String(halves.length)), bytes]) add(field);
  }
  return digest();
}

function fieldHash(): { add(bytes: Uint8Array): void; digest(): Uint8Array } {
  const hash = sha256.create();
  return {
    add(bytes) {
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, bytes.length, true);
      hash.update(length).update(bytes);
    },
    digest: () => hash.digest(),
  };
}

/** The parts of a tensor that are hashed. */
function windowsOf(info: TensorInfo): TensorInfo[] {
  if (info.bytes <= WHOLE_BYTES) return [info];
  return Array.from({ length: WINDOWS }, (_, i) => {
    const start = Math.floor((i * (info.bytes - WINDOW_BYTES)) / (WINDOWS - 1));
    return { ...info, offset: info.offset + start, bytes: WINDOW_BYTES };
  });
}

/** Nulls and defaults are kept: to a model family, null may mean something else than a field that is not there. */
function canonicalConfig(config: Readonly<Record<string, unknown>>): string {
  return canonicalJson(Object.fromEntries(Object.entries(config).filter(([key]) => !INERT_FIELDS.has(key))));
}

/** JSON with the keys of every object sorted. */
function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (!isRecord(value)) return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`).join(",")}}`;
}
