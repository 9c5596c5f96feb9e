/**
 * A quantized copy of a checkpoint: one safetensors file with all that a forward pass uses, made once and kept.
 *
 *   for each matrix "a+b" of tensors a, b:  "a+b codes" U8, "a+b scales" F32, "a+b zero points" U8
 *   where it has them (src/weights/quantize-blocks.ts)
 *   each other tensor as it is in the checkpoint, wide types first, so that all are aligned
 *   "sha256" U8 [32], of all bytes before it: the last bytes of the file, which the FileCache writes and checks
 */

import { toHex } from "../../base/bytes.ts";
import { TacetError } from "../../base/errors.ts";
import type { FileCache, FileWriter } from "../../base/platform.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import { fingerprintCheckpoint } from "../../weights/fingerprint.ts";
import type { BlockForm } from "../../weights/quantize-blocks.ts";
import {
  type Dtype,
  encodeSafetensorsHeader,
  openSafetensors,
  readTensorBytes,
  type TensorInfo,
} from "../../weights/safetensors.ts";
import { writeQuantizedMatrix } from "./quantize-matrix.ts";
import { type DemandedMatrix, matrixName, quantizedShapes, type WeightDemand } from "./weight-demand.ts";
import type { WeightFormat, WeightSource } from "./weight-source.ts";

/** Changes with the contents of the file, the rounding included. */
const FORMAT_VERSION = 2;
const DIGEST_NAME = "sha256";
const DIGEST_BYTES = 32;
const COPY_BYTES = 16 << 20;

export interface PrepareProgress {
  /** "quantizing" is done once for a checkpoint; "checking" each time: what is left of it when the model is loaded. */
  readonly step: "quantizing" | "checking";
  readonly fraction: number;
}

export interface QuantizedOptions {
  readonly cache: FileCache;
  readonly signal?: AbortSignal | undefined;
  readonly onPrepare?: ((progress: PrepareProgress) => void) | undefined;
  /** Something that the user should know, and that is repaired. */
  readonly onWarning?: ((message: string) => void) | undefined;
}

interface Entry {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Weights that may turn out to be damaged: nothing that was computed from them may leave before it is known. */
export interface OpenedWeights {
  readonly source: WeightSource;
  /**
   * To be called when nothing is left to be done meanwhile. false: they were damaged and the user is told; opened anew,
   * they are made again.
   */
  isWhole(): Promise<boolean>;
}

/**
 * What `make` gives of whole weights. It works while they are checked; where they were damaged it is dropped, or what it
 * has thrown, and made again.
 */
export async function ofWholeWeights<Made>(
  open: () => Promise<OpenedWeights>,
  make: (source: WeightSource) => Promise<Made>,
  drop: (made: Made) => Promise<unknown>,
): Promise<Made> {
  for (;;) {
    const { source, isWhole } = await open();
    const [made] = await Promise.allSettled([make(source)]);
    let whole = false;
    try {
      whole = await isWhole();
    } finally {
      if (!whole && made.status === "fulfilled") await drop(made.value);
    }
    if (!whole) continue;
    if (made.status === "rejected") throw made.reason;
    return made.value;
  }
}

/**
 * The quantized copy of a checkpoint, made if there is none or a damaged one; one that was there is checked beside what
 * follows. While it is made a few MiB of weights are in memory, or one tensor that is stored (in, out).
 *
 * @throws TacetError bad_checkpoint for a weight that is not finite, io_failed on a full disk, aborted
 */
export async function quantizedWeights(
  checkpoint: Checkpoint,
  format: WeightFormat,
  demand: WeightDemand,
  options: QuantizedOptions,
): Promise<OpenedWeights> {
  const { cache } = options;
  // The checkpoint, the format and the version: nothing else decides what is in the file.
  const fingerprint = toHex(await fingerprintCheckpoint(checkpoint));
  const name = `${fingerprint}-${format}-v${FORMAT_VERSION}.safetensors`;
  const found = await findCopy(name, demand, options);
  if (found) return found;
  const entries = entriesOf(demand);
  const header = encodeSafetensorsHeader(entries);
  const bytes = entries.reduce((sum, entry) => sum + entry.bytes, header.length - DIGEST_BYTES);
  const writer = await cache.create(name, bytes);
  try {
    await writer.append(header);
    await writeTensors(writer, demand, options);
    await writer.finish();
  } finally {
    await writer.discard();
  }
  const { tensors } = await openSafetensors(cache.files, name);
  return { source: sourceOf(cache, tensors, demand), isWhole: async () => true };
}

async function findCopy(
  name: string,
  demand: WeightDemand,
  { cache, onPrepare, onWarning, signal }: QuantizedOptions,
): Promise<OpenedWeights | undefined> {
  let isAwaited = false;
  const tell = (fraction: number): void => {
    if (isAwaited) onPrepare?.({ step: "checking", fraction });
  };
  const check = await cache.check(name, { signal, onProgress: tell });
  if (!check) return undefined;
  const isWhole = async (): Promise<boolean> => {
    isAwaited = true;
    const whole = await check.isWhole;
    if (whole) tell(1);
    else onWarning?.(`the quantized weights in ${cache.files.label} were damaged and are made again`);
    return whole;
  };
  const tensors = await tensorsOf(name, cache, demand);
  if (tensors) return { source: sourceOf(cache, tensors, demand), isWhole };
  if (await isWhole())
    onWarning?.(`the quantized weights in ${cache.files.label} are of another version and are made again`);
  return undefined;
}

/** undefined: they are not those that are wanted. */
async function tensorsOf(
  name: string,
  { files }: FileCache,
  demand: WeightDemand,
): Promise<ReadonlyMap<string, TensorInfo> | undefined> {
  // A damaged header may say anything, and the file may be gone already.
  const opened = await openSafetensors(files, name).catch(() => undefined);
  const fits = entriesOf(demand).every(({ name, dtype, shape }) => {
    const found = opened?.tensors.get(name);
    return found?.dtype === dtype && String(found.shape) === String(shape);
  });
  return fits ? opened?.tensors : undefined;
}

const codesName = (demanded: DemandedMatrix): string => `${matrixName(demanded.matrix)} codes`;
const scalesName = (demanded: DemandedMatrix): string => `${matrixName(demanded.matrix)} scales`;
const zeroPointsName = (demanded: DemandedMatrix): string => `${matrixName(demanded.matrix)} zero points`;

interface RoundedDemand extends DemandedMatrix {
  readonly form: BlockForm;
}

/** What matrices are in the file rounded. */
function roundedOf({ matrices }: WeightDemand): RoundedDemand[] {
  return matrices.filter((demanded): demanded is RoundedDemand => demanded.form !== undefined);
}

/** All tensors of the file, in its order. */
function entriesOf(demand: WeightDemand): Entry[] {
  const matrices = roundedOf(demand).flatMap((demanded): Entry[] => {
    const { codes, scales, zeroPoints } = quantizedShapes(demanded.matrix, demanded.form);
    return [
      { name: codesName(demanded), dtype: "U8", shape: codes, bytes: product(codes) },
      { name: scalesName(demanded), dtype: "F32", shape: scales, bytes: 4 * product(scales) },
      ...(zeroPoints
        ? [
            {
              name: zeroPointsName(demanded),
              dtype: "U8",
              shape: zeroPoints,
              bytes: product(zeroPoints),
            } as const,
          ]
        : []),
    ];
  });
  const stored = storedInOrder(demand).map(({ info: { name, dtype, shape, bytes } }) => ({
    name,
    dtype,
    shape,
    bytes,
  }));
  const digest: Entry = { name: DIGEST_NAME, dtype: "U8", shape: [DIGEST_BYTES], bytes: DIGEST_BYTES };
  return [...matrices, ...stored, digest];
}

function storedInOrder({ tensors }: WeightDemand): WeightDemand["tensors"] {
  const wide = ({ info }: { info: TensorInfo }) => (info.dtype === "F32" ? 0 : 1);
  return [...tensors].sort((a, b) => wide(a) - wide(b));
}

async function writeTensors(
  writer: FileWriter,
  demand: WeightDemand,
  { signal, onPrepare }: QuantizedOptions,
): Promise<void> {
  const stored = storedInOrder(demand);
  const parts = roundedOf(demand).flatMap((matrix) => matrix.parts);
  const total = [...parts, ...stored].reduce((sum, { info }) => sum + info.bytes, 0);
  let done = 0;
  const step = (bytes: number): void => {
    if (signal?.aborted) throw new TacetError("aborted", "stopped on request");
    onPrepare?.({ step: "quantizing", fraction: (done += bytes) / total });
  };
  for (const demanded of roundedOf(demand)) await writeQuantizedMatrix(writer, demanded, step);
  for (const { tree, info } of stored) {
    for (let at = 0; at < info.bytes; at += COPY_BYTES) {
      const bytes = Math.min(COPY_BYTES, info.bytes - at);
      await writer.append(await readTensorBytes(tree, { ...info, offset: info.offset + at, bytes }));
      step(bytes);
    }
  }
}

function sourceOf(
  { files }: FileCache,
  tensors: ReadonlyMap<string, TensorInfo>,
  demand: WeightDemand,
): WeightSource {
  const matrices = new Map(roundedOf(demand).map((demanded) => [matrixName(demanded.matrix), demanded]));
  return {
    tensor: (name) => ({ tree: files, info: tensors.get(name)! }),
    quantized(matrix) {
      const demanded = matrices.get(matrixName(matrix));
      if (!demanded) return undefined;
      const zeroPoints = tensors.get(zeroPointsName(demanded));
      return {
        tree: files,
        form: demanded.form,
        codes: tensors.get(codesName(demanded))!,
        scales: tensors.get(scalesName(demanded))!,
        ...(zeroPoints ? { zeroPoints } : {}),
      };
    },
  };
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((all, size) => all * size, 1);
}
