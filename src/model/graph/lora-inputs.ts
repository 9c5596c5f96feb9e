/**
 * LoRAs as inputs of a graph: one session serves the base model and every adapter that is here. An adapter of which
 * nothing stands at a place has zeros of rank 1 there, and so has the base model everywhere.
 */

import type { Tensor } from "../../base/platform.ts";
import type { LoraModule } from "../../weights/lora-adapter.ts";
import type { LinearPlace } from "./linear-place.ts";
import type { Attribute, Dims, ElementType, OutputSpec, Value } from "./onnx-graph.ts";

/** What a LoRA needs of the builder. */
interface GraphWriter {
  given(name: string, type: ElementType, dims: Dims): Value;
  node(
    opType: string,
    inputs: readonly (Value | string)[],
    outputs: readonly OutputSpec[],
    options?: { readonly attributes?: Readonly<Record<string, Attribute>>; readonly domain?: string },
  ): Value[];
}

/** Modules of an adapter, by name. */
export type LoraModules = ReadonlyMap<string, LoraModule>;

/** Input names of a place's two matrices. Modules stand at one place, so the first one names it. */
const namesOf = ({ modules }: LinearPlace) => ({ a: `${LORA}a.${modules[0]}`, b: `${LORA}b.${modules[0]}` });
const LORA = "lora_";

/** Whether a graph's input is one of these matrices, by its name. */
export const isLoraName = (name: string): boolean => name.startsWith(LORA);

/**
 * y + B·(A·x), scaled, of all modules of a place at once: x (1, tokens, in), y (1, tokens, Σ out). Of an embedding x is
 * the ids.
 *
 * @param name of what comes out
 */
export function addLora(writer: GraphWriter, place: LinearPlace, x: Value, y: Value, name?: string): Value {
  const { inFeatures, outFeatures, modules, isEmbedding = false } = place;
  const names = namesOf(place);
  const rank = `rank.${modules[0]}`;
  const a = writer.given(names.a, "float32", [inFeatures, rank]);
  const b = writer.given(names.b, "float32", [rank, sum(outFeatures)]);
  const hidden = { dims: [...(isEmbedding ? x.dims : x.dims.slice(0, -1)), rank] };
  const [coefficients] = isEmbedding
    ? writer.node("Gather", [a, x], [hidden])
    : writer.node("MatMul", [x, a], [hidden]);
  const [delta] = writer.node("MatMul", [coefficients, b], [{ dims: y.dims }]);
  return writer.node("Add", [y, delta], [{ dims: y.dims, ...(name === undefined ? {} : { name }) }])[0];
}

/** One expert of a place of experts, by itself. */
export function expertOf(place: LinearPlace, expert: number): LinearPlace {
  return { ...place, modules: [place.modules[expert]], outFeatures: [place.outFeatures[expert]] };
}

/** The places at which one of the adapters stands. */
export function adaptedPlaces(
  places: readonly LinearPlace[],
  adapters: readonly LoraModules[],
): ReadonlySet<LinearPlace> {
  return new Set(
    places.filter(({ modules }) => modules.some((name) => adapters.some((adapter) => adapter.has(name)))),
  );
}

/**
 * What a graph with LoRAs at these places is given by an adapter, by input name.
 *
 * @param modules undefined: the base model alone
 */
export function loraTensors(
  places: ReadonlySet<LinearPlace>,
  modules: LoraModules = new Map(),
): ReadonlyMap<string, Tensor> {
  const inputs = [...places].flatMap((place) =>
    place.isRouted ? place.modules.map((_, expert) => expertOf(place, expert)) : [place],
  );
  return new Map(inputs.flatMap((place) => matricesOf(place, modules)));
}

/**
 * Of the place's modules that are adapted, scale·Aᵀ beside each other, (in, Σ rank), and Bᵀ as blocks on a diagonal,
 * (Σ rank, Σ out): as they lie here a product with one row reads them in order.
 */
function matricesOf(place: LinearPlace, modules: LoraModules): [string, Tensor][] {
  const { inFeatures, outFeatures } = place;
  const names = namesOf(place);
  const own = place.modules.map((name) => modules.get(name));
  // Rank 0 would do, but not every device has products of nothing.
  const rank = Math.max(1, sum(own.map((module) => module?.rank ?? 0)));
  const out = sum(outFeatures);
  const a = new Float32Array(inFeatures * rank);
  const b = new Float32Array(rank * out);
  let row = 0;
  let column = 0;
  for (const [i, module] of own.entries()) {
    if (module) {
      for (let r = 0; r < module.rank; r++, row++) {
        for (let k = 0; k < inFeatures; k++) a[k * rank + row] = module.scale * module.a[r * inFeatures + k];
        for (let o = 0; o < outFeatures[i]; o++) b[row * out + column + o] = module.b[o * module.rank + r];
      }
    }
    column += outFeatures[i];
  }
  return [
    [names.a, { type: "float32", dims: [inFeatures, rank], data: a }],
    [names.b, { type: "float32", dims: [rank, out], data: b }],
  ];
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
