/** The changes of the base model that a forward pass is written with, and which of them it has used. */
import { TacetError } from "../../base/errors.ts";
import type { BaseChanges, ChangedTensor, TokenRows } from "../../weights/base-changes.ts";
import { quoteName } from "../../weights/json-file.ts";

export class ChangesInUse {
  readonly #changes: BaseChanges;
  readonly #used = new Set<object>();

  constructor(changes: BaseChanges) {
    this.#changes = changes;
  }

  /** What replaces a tensor of the base. @throws TacetError unsupported_adapter if it has another shape */
  tensor(name: string, shape: readonly number[]): ChangedTensor | undefined {
    const tensor = this.#take(this.#changes.tensors, name);
    if (tensor && tensor.shape.join() !== shape.join()) throw misfit(name, tensor.shape, shape);
    return tensor;
  }

  /** @throws TacetError unsupported_adapter for rows of another width, or tokens that the base does not have */
  tokens(module: string, vocabSize: number, width: number): TokenRows | undefined {
    const tokens = this.#take(this.#changes.tokens, module);
    if (!tokens) return undefined;
    const { ids, rows } = tokens;
    if (rows.length !== ids.length * width)
      throw misfit(module, [ids.length, rows.length / ids.length], [ids.length, width]);
    if (ids[ids.length - 1] < vocabSize) return tokens;
    throw new TacetError(
      "unsupported_adapter",
      `the adapter has a row for token ${ids[ids.length - 1]}, and ${quoteName(module)} has ${vocabSize} rows`,
      {
        hint: "it was trained with a larger vocabulary: Tacet runs a base model with the tokens that it has",
      },
    );
  }

  /** s of the modules beside each other; undefined where none has one. */
  scales(modules: readonly string[], outFeatures: readonly number[]): Float32Array | undefined {
    return this.#beside(this.#changes.scales, modules, outFeatures, 1);
  }

  /** b_added of the modules beside each other; undefined where none has one. */
  biases(modules: readonly string[], outFeatures: readonly number[]): Float32Array | undefined {
    return this.#beside(this.#changes.biases, modules, outFeatures, 0);
  }

  /** @throws TacetError unsupported_adapter, naming it, if there is a change that the forward pass has no use for */
  refuseUnused(): void {
    const { tensors, tokens, scales, biases } = this.#changes;
    for (const [name, change] of [...tensors, ...tokens, ...scales, ...biases]) {
      if (this.#used.has(change)) continue;
      throw new TacetError(
        "unsupported_adapter",
        `the adapter changes ${quoteName(name)}, which the base model does not have or does not use`,
        { hint: "was it made for another base model?" },
      );
    }
  }

  #take<T extends object>(changes: ReadonlyMap<string, T>, name: string): T | undefined {
    const change = changes.get(name);
    if (change) this.#used.add(change);
    return change;
  }

  #beside(
    changes: ReadonlyMap<string, Float32Array>,
    modules: readonly string[],
    outFeatures: readonly number[],
    otherwise: number,
  ): Float32Array | undefined {
    if (!modules.some((name) => changes.has(name))) return undefined;
    const joined = new Float32Array(outFeatures.reduce((sum, out) => sum + out, 0)).fill(otherwise);
    let at = 0;
    for (const [i, name] of modules.entries()) {
      const values = this.#take(changes, name);
      if (values && values.length !== outFeatures[i]) throw misfit(name, [values.length], [outFeatures[i]]);
      if (values) joined.set(values, at);
      at += outFeatures[i];
    }
    return joined;
  }
}

function misfit(name: string, got: readonly number[], wanted: readonly number[]): TacetError {
  return new TacetError(
    "unsupported_adapter",
    `what the adapter has for ${quoteName(name)} is (${got.join(", ")}), the base model wants (${wanted.join(", ")})`,
    { hint: "the adapter was made for another base model, or with a larger vocabulary" },
  );
}
