/** Which layout of packed integers a configuration says that the linear modules of a checkpoint have. */

import { TacetError } from "../../base/errors.ts";
import { isRecord, type JsonRecord } from "../json-file.ts";

/** What `quantization_config` says of all modules; what differs by module is in the shapes of its tensors. */
export interface PackedFormat {
  /** gptq: words go down a column of the transposed matrix. awq: along its rows, in AWQ's order of eight. */
  readonly method: "gptq" | "awq";
  readonly bits: 4 | 8;
  /** Inputs that share a scale; undefined: all. */
  readonly groupSize: number | undefined;
  /** Zero points are stored less one, in the words of the first version of GPTQ's format. */
  readonly zerosLessOne: boolean;
  /** All zero points are the middle, 2^(bits−1). */
  readonly symmetric: boolean;
  /** Columns may be in groups in any order. */
  readonly anyOrder: boolean;
  /** "GPTQ, 4 bits, groups of 128" */
  readonly storedAs: string;
}

/**
 * What config.json says.
 *
 * @returns undefined: neither GPTQ nor AWQ
 * @throws TacetError unsupported_model naming the field, for layouts that are not read
 */
export function packedFormat({
  quantization_config: field,
  model_type: family,
}: JsonRecord): PackedFormat | undefined {
  if (!isRecord(field)) return undefined;
  const { quant_method: method } = field;
  if (method !== "gptq" && method !== "awq") return undefined;
  // Its matrices are stored (in, out), and come out of such files turned.
  if (family === "gpt2") throw refusal("quant_method", method, "quantized files of GPT-2 are not");
  const bits = field.bits ?? field.w_bit;
  if (bits !== 4 && !(bits === 8 && method === "gptq")) {
    throw refusal("bits", bits, method === "gptq" ? "4 and 8 are read" : "4 is read");
  }
  const groupSize = groupSizeOf(field.group_size ?? field.q_group_size);
  const groups = groupSize === undefined ? "one group a row" : `groups of ${groupSize}`;
  const storedAs = `${method.toUpperCase()}, ${bits} bits, ${groups}`;
  if (method === "awq") {
    const version = typeof field.version === "string" ? field.version.toLowerCase() : "gemm";
    if (version !== "gemm") throw refusal("version", field.version, '"gemm" is read');
    if (field.zero_point === false) throw refusal("zero_point", false, "files with zero points are read");
    return {
      ...{ method, bits, groupSize, storedAs },
      ...{ zerosLessOne: false, symmetric: false, anyOrder: false },
    };
  }
  const version = field.checkpoint_format ?? "gptq";
  if (version !== "gptq" && version !== "gptq_v2")
    throw refusal("checkpoint_format", version, '"gptq" and "gptq_v2" are read');
  return {
    ...{ method, bits, groupSize, storedAs },
    zerosLessOne: version === "gptq",
    // Modules may differ where there are rules for some of them.
    symmetric: field.sym === true && !hasRules(field.dynamic),
    anyOrder: field.desc_act !== false || field.static_groups === true,
  };
}

function groupSizeOf(value: unknown): number | undefined {
  if (value === -1) return undefined;
  if (Number.isInteger(value) && (value as number) > 0) return value as number;
  throw refusal("group_size", value, "a number of inputs, or -1 for all, is read");
}

function hasRules(dynamic: unknown): boolean {
  return isRecord(dynamic) && Object.keys(dynamic).length > 0;
}

function refusal(field: string, value: unknown, read: string): TacetError {
  const said = (JSON.stringify(value) ?? "missing").slice(0, 80);
  return new TacetError(
    "unsupported_model",
    `config.json: quantization_config.${field} = ${said} is not supported: ${read}`,
    {
      hint: "take another quantized copy of the model, or the model itself, which --weights int4 rounds at load",
    },
  );
}
