/** A base model: a folder in the Hugging Face layout (config.json, safetensors files, the tokenizer), or a GGUF file. */

import { TacetError } from "../base/errors.ts";
import type { FileTree } from "../base/platform.ts";
import type { AdapterText } from "./adapter-text.ts";
import { openGgufContents } from "./gguf/gguf-checkpoint.ts";
import { isRecord, type JsonRecord, parseJson, parseJsonRecord, quoteName, readText } from "./json-file.ts";
import { ggufFiles, isGgufName, isShardName, MODEL_FILES } from "./model-files.ts";
import { packingOf } from "./packed/packing.ts";
import { textModuleName } from "./text-module-name.ts";
import { refuseQuantized } from "./quantized-checkpoint.ts";
import { openSafetensors, type SafetensorsFile, type TensorInfo } from "./safetensors.ts";

export interface Checkpoint {
  readonly tree: FileTree;
  /** How a copy holds what its original holds otherwise: "GPTQ, 4 bits, groups of 128". Absent: it is an original. */
  readonly storedAs?: string;
  /** What its files have, where what is above is made of it: config.json with how tensors are packed, and those. */
  readonly files?: Pick<Checkpoint, "tree" | "config" | "names" | "tensor">;
  /** config.json as written: the fields keep Hugging Face's spelling. */
  readonly config: JsonRecord;
  /** Of all tensors, sorted by UTF-16 code units. */
  readonly names: readonly string[];
  /** Whether there is a tensor of this name, or of the name without the language model's part before it. */
  has(name: string): boolean;
  /**
   * The tensor that `has` finds, under the name that was asked for.
   * @throws TacetError bad_checkpoint if there is no such tensor
   */
  tensor(name: string): TensorInfo;
  /** Another file of the folder as text or JSON, undefined if there is none (the tokenizer's files, mostly). */
  text(name: string): Promise<string | undefined>;
  json(name: string): Promise<unknown>;
  /** What an adapter on this base changes about text (adapter-text.ts); the folder's own files know nothing of it. */
  readonly adapterText?: AdapterText;
}

const SINGLE = MODEL_FILES.base.weights;
const INDEX = MODEL_FILES.base.index;
/**
 * What a language model calls the decoder inside it. A file that was saved from the decoder alone, as GPT-2 was
 * released, leaves it out; transformers reads both (`base_model_prefix`).
 */
const WRAPPER = /^(?:transformer|model)\./;

/**
 * @param tree a folder in the Hugging Face layout, or one with a single GGUF file and no config.json
 * @throws TacetError bad_checkpoint if a file is missing or damaged, or the weights are pickled; unsupported_model if
 *   they are stored in a way that is not read
 */
export async function openCheckpoint(tree: FileTree): Promise<Checkpoint> {
  const configText = await readText(tree, "config.json", "bad_checkpoint");
  if (configText === undefined) {
    const gguf = await findGguf(tree);
    if (gguf !== undefined) {
      const { tree: folder, storedAs, config, tensors, stored } = await openGgufContents(tree, gguf);
      const files = checkpointOf(stored.tree, config, stored.tensors);
      return { ...checkpointOf(folder, config, tensors), storedAs, files };
    }
    throw new TacetError("bad_checkpoint", `${tree.label} has no config.json`, {
      hint: "give a GGUF file, or the folder of a model in the Hugging Face layout (config.json, *.safetensors, tokenizer.json)",
    });
  }
  const config = parseJsonRecord(configText, "config.json", "bad_checkpoint");
  const stored = await openTensors(tree);
  const packing = packingOf(config);
  refuseQuantized(tree.label, config, stored.values(), packing !== undefined);
  if (packing === undefined) return checkpointOf(tree, config, stored);
  const packed = await packing.open(tree, stored);
  const { quantization_config: _, ...plain } = config;
  const files = checkpointOf(tree, config, stored);
  return { ...checkpointOf(packed.tree, plain, packed.tensors), storedAs: packing.storedAs, files };
}

/** The GGUF file of a folder that has nothing else, or one of its parts. */
async function findGguf(tree: FileTree): Promise<string | undefined> {
  const found = (await tree.list()).filter(isGgufName);
  if (found.length === 0) return undefined;
  const files = ggufFiles(found[0]);
  if (found.every((path) => files.includes(path))) return found[0];
  throw new TacetError(
    "bad_checkpoint",
    `${tree.label} has several GGUF files: ${found.join(", ").slice(0, 400)}`,
    {
      hint: "give the path of one of them",
    },
  );
}

function checkpointOf(
  tree: FileTree,
  config: JsonRecord,
  tensors: ReadonlyMap<string, TensorInfo>,
): Checkpoint {
  const inside = textTensors(tensors);
  const find = (name: string): TensorInfo | undefined => {
    const exact = tensors.get(name);
    if (exact) return exact;
    const other = inside.get(name) ?? tensors.get(name.replace(WRAPPER, ""));
    return other && { ...other, name };
  };
  return {
    tree,
    config,
    names: [...tensors.keys()].sort(),
    has: (name) => find(name) !== undefined,
    tensor(name) {
      const info = find(name);
      if (info) return info;
      throw new TacetError("bad_checkpoint", `${tree.label} has no tensor ${quoteName(name)}`, {
        hint: "config.json and the weights do not belong together, or the weights are incomplete",
      });
    },
    text: (name) => readText(tree, name, "bad_checkpoint"),
    async json(name) {
      const text = await readText(tree, name, "bad_checkpoint");
      return text === undefined ? undefined : parseJson(text, name, "bad_checkpoint");
    },
  };
}

/** The tensors of the language model inside a model that also sees or hears, by the names they have in one that does not. */
function textTensors(tensors: ReadonlyMap<string, TensorInfo>): ReadonlyMap<string, TensorInfo> {
  const inside = new Map<string, TensorInfo>();
  for (const [name, info] of tensors) {
    const plain = textModuleName(name);
    if (plain !== name) inside.set(plain, info);
  }
  return inside;
}

/** The base model with an adapter's text. Its tensors, and so its fingerprint, stay what they are. */
export function withAdapterText(checkpoint: Checkpoint, adapterText: AdapterText): Checkpoint {
  return { ...checkpoint, adapterText };
}

/** One file if there is one, as Hugging Face chooses, else the files that the index names. */
async function openTensors(tree: FileTree): Promise<ReadonlyMap<string, TensorInfo>> {
  if ((await tree.size(SINGLE)) !== undefined) return (await openSafetensors(tree, SINGLE)).tensors;
  const index = await readText(tree, INDEX, "bad_checkpoint");
  if (index !== undefined) return await openShards(tree, index);
  await refuseOtherFormats(tree);
  throw new TacetError("bad_checkpoint", `${tree.label} has neither ${SINGLE} nor ${INDEX}`, {
    hint: "download the model's safetensors files into this folder",
  });
}

async function openShards(tree: FileTree, indexText: string): Promise<Map<string, TensorInfo>> {
  const weightMap = parseJsonRecord(indexText, INDEX, "bad_checkpoint").weight_map;
  if (!isRecord(weightMap)) throw badIndex("it has no weight_map");
  const files = new Map<string, SafetensorsFile>();
  const tensors = new Map<string, TensorInfo>();
  for (const [name, path] of Object.entries(weightMap)) {
    // A plain file name: an index may not reach into other folders.
    if (!isShardName(path)) {
      throw badIndex(`for tensor ${quoteName(name)} it does not name a safetensors file of this folder`);
    }
    let file = files.get(path);
    if (!file) {
      if ((await tree.size(path)) === undefined) {
        throw new TacetError("bad_checkpoint", `${tree.label} has no ${path}, which ${INDEX} names`, {
          hint: "the download is incomplete: fetch the missing file",
        });
      }
      files.set(path, (file = await openSafetensors(tree, path)));
    }
    const info = file.tensors.get(name);
    if (!info) {
      const what = `${path} has no tensor ${quoteName(name)}, which ${INDEX} promises`;
      throw new TacetError("bad_checkpoint", what, { hint: DIFFERENT_DOWNLOADS });
    }
    tensors.set(name, info);
  }
  refuseDuplicates(files.values(), tensors);
  return tensors;
}

const DIFFERENT_DOWNLOADS = "the files are of different models or versions: download all of them again";

function badIndex(what: string): TacetError {
  return new TacetError("bad_checkpoint", `${INDEX}: ${what}`, { hint: "download that file again" });
}

/** Other readers take a tensor that is in two files from the file they happen to read last. */
function refuseDuplicates(files: Iterable<SafetensorsFile>, tensors: ReadonlyMap<string, TensorInfo>): void {
  for (const { path, tensors: inside } of files) {
    for (const name of inside.keys()) {
      const chosen = tensors.get(name);
      if (chosen === undefined || chosen.path === path) continue;
      const what = `tensor ${quoteName(name)} is in ${path} and in ${chosen.path}`;
      throw new TacetError("bad_checkpoint", what, { hint: DIFFERENT_DOWNLOADS });
    }
  }
}

async function refuseOtherFormats(tree: FileTree): Promise<void> {
  for (const path of ["pytorch_model.bin", "pytorch_model.bin.index.json"]) {
    if ((await tree.size(path)) === undefined) continue;
    throw new TacetError(
      "bad_checkpoint",
      `${tree.label} has its weights in ${path} only, a pickle: reading one can run code`,
      {
        hint: "get the model's safetensors files, or convert with save_pretrained(..., safe_serialization=True)",
      },
    );
  }
}
