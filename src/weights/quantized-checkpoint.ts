/** Checkpoints whose weights are stored quantized, which are not read: what they are, and what to give instead. */

import { TacetError } from "../base/errors.ts";
import { isRecord, type JsonRecord, quoteName } from "./json-file.ts";
import type { TensorInfo } from "./safetensors.ts";

/** Types of elements that only quantized weights have. Masks and positions are BOOL, U8 and I64. */
const QUANTIZED = /^(?:F8_|F6_|F4$|I8$|U32$|I32$)/;
/** What makers put behind the name of the model that they quantized. */
const SUFFIX =
  /[-_](?:unsloth-)?(?:bnb[-_]?[48]bit|gptq(?:[-_]int[348])?(?:[-_][48]bit.*)?|awq(?:[-_]int4)?|fp8(?:[-_]dynamic)?|mlx|[34568]bit|int[48]|w[48]a(?:8|16)|nvfp4)$/i;

/**
 * @param name of the folder, or the model's id
 * @param isRead the configuration names a way that is read (packed/): what it does not speak of is refused all the same
 * @throws TacetError unsupported_model; bad_checkpoint for packed tensors that nothing is said of
 */
export function refuseQuantized(
  name: string,
  config: JsonRecord,
  tensors: Iterable<TensorInfo>,
  isRead = false,
): void {
  const method = isRead ? undefined : methodOf(config);
  let what = method;
  for (const { name: tensor, dtype, path } of tensors) {
    if (what !== undefined) break;
    if (!isRead && tensor.endsWith(".qweight")) {
      const hint =
        "the configuration of GPTQ and AWQ belongs into config.json: download that file again, or put what quantize_config.json " +
        'or quant_config.json says there, with "quant_method": "gptq" or "awq"';
      const missing = `config.json has no quantization_config, and ${path} has the tensor ${quoteName(tensor)}`;
      throw new TacetError("bad_checkpoint", missing, { hint });
    }
    if (!isRead && dtype === "U8" && tensor.endsWith("_proj_blocks")) {
      const missing = `config.json has no quantization_config, and ${path} has the tensor ${quoteName(tensor)}`;
      throw new TacetError("bad_checkpoint", missing, {
        hint: 'gpt-oss\'s has one with "quant_method": "mxfp4": download config.json again',
      });
    }
    if (!tensor.endsWith(".weight") || !QUANTIZED.test(dtype)) continue;
    what = `${path}: tensor ${quoteName(tensor)} is stored as ${dtype}`;
  }
  if (what === undefined) return;
  // A folder of the hub's cache has the model's id in its path; other folders may have it in their configuration.
  const cached = /models--([^/\\]+)[/\\]snapshots[/\\]/.exec(name)?.[1].replace("--", "/");
  const made = typeof config._name_or_path === "string" ? config._name_or_path : "";
  const plain = siblingOf(cached ?? name) ?? siblingOf(made.slice(0, 200));
  const instead =
    plain === undefined ? "the model that it was quantized from" : `${plain}, or whatever it was made from,`;
  throw new TacetError("unsupported_model", `${name} holds quantized weights (${what})`, {
    hint: `give ${instead} in F32, F16 or BF16; --weights int4 or int8 rounds that at load`,
  });
}

/** "gptq, 4 bits" */
function methodOf({
  quantization_config: hub,
  quantization: mlx,
  compression_config: compressed,
}: JsonRecord): string | undefined {
  const field = [hub, compressed, mlx].find((value) => isRecord(value) && Object.keys(value).length > 0) as
    | JsonRecord
    | undefined;
  if (field === undefined) return undefined;
  const method = field === mlx ? "MLX" : field.quant_method;
  const bits = field.load_in_4bit === true ? 4 : field.load_in_8bit === true ? 8 : field.bits;
  const words = [typeof method === "string" ? method.slice(0, 40) : "quantization_config"];
  if (typeof bits === "number") words.push(`${bits} bits`);
  return words.join(", ");
}

/** "org/model" for "org/model-bnb-4bit"; undefined: the name does not say. */
export function siblingOf(name: string): string | undefined {
  const path = name.replace(/[\\/]+$/, "");
  const plain = path.replace(SUFFIX, "");
  return plain === path ? undefined : plain;
}
