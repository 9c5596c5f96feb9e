/**
 * A base model's fingerprint: 32 bytes that tell two checkpoints apart.
 *
 *   SHA-256 over fields, each preceded by its length in bytes as 4 little-endian bytes:
 *   "tacet/base-model/1", the configuration as canonical JSON, then for each tensor, by name in the order of
 *   UTF-16 code units: [name, dtype, shape] as JSON, and its sampled bytes.
 *
 * Tensors up to 1 MiB are hashed whole, larger ones in 16 windows of 4 KiB, evenly spaced, the first and the
 * last bytes among them: a fine-tune or another quantization changes all of a matrix, and a model of 12 GB
 * is told in a second. It is a check against mistakes. It identifies and does not authenticate: someone who
 * changes a few weights between the windows on purpose keeps the fingerprint.
 */

import { sha256 } from "@noble/hashes/sha2.js";
import { utf8 } from "../base/bytes.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { isRecord } from "./json-file.ts";
import { readTensorBytes, type TensorInfo } from "./safetensors.ts";

const DOMAIN = "tacet/base-model/1";
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

/** SHA-256 as above, whatever files the tensors are spread over. */
export async function fingerprintCheckpoint(checkpoint: Checkpoint): Promise<Uint8Array> {
  const hash = sha256.create();
  const add = (bytes: Uint8Array) => {
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, bytes.length, true);
    hash.update(length).update(bytes);
  };
  add(utf8(DOMAIN));
  add(utf8(canonicalConfig(checkpoint.config)));
  for (const name of checkpoint.names) {
    const info = checkpoint.tensor(name);
    add(utf8(JSON.stringify([name, info.dtype, info.shape])));
    for (const window of windowsOf(info)) add(await readTensorBytes(checkpoint.tree, window));
  }
  return hash.digest();
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
