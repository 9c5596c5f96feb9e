/**
 * What a client must hold besides the bases of a low-rank adapter, by kind. Such a part is in the clear for everyone who
 * gets the bundle, so it is published only where the provider says so by name.
 */
import { TacetError } from "../base/errors.ts";
import type { LoraPair } from "../pll/lora-split.ts";
import type { BaseChanges } from "../weights/base-changes.ts";

export const PART_NAMES = ["norm", "bias", "dora-scales", "modules", "tokens", "tied-head"] as const;
export type PartName = (typeof PART_NAMES)[number];

interface PartFacts {
  readonly what: string;
  /** What everyone who gets the bundle is told. */
  readonly tells: string;
  /** What a client that asks as usual would find out without it. */
  readonly anyway: string;
}

export const PARTS: Readonly<Record<PartName, PartFacts>> = {
  norm: {
    what: "weights of norms, and other vectors that are no bias",
    tells: "the trained weights, exactly",
    anyway: "nothing of them, but a norm is computed where the activations are, so no client can run without",
  },
  bias: {
    what: "biases",
    tells: "the trained biases, exactly",
    anyway: "a bias in one query: it is what comes out where nothing goes in",
  },
  "dora-scales": {
    what: "row scales of DoRA",
    tells:
      "the ratio of each trained row length to the length of W + B·A: one number an output, not A, B or the lengths themselves",
    anyway:
      "nothing of them, but the base's product is scaled where it is computed, so no client can run without",
  },
  modules: {
    what: "whole modules (modules_to_save)",
    tells: "all of their weights, as they were trained: they have no private half",
    anyway: "a linear module after as many queries as it has inputs, an embedding token by token",
  },
  tokens: {
    what: "rows of single tokens (trainable_token_indices)",
    tells: "which tokens were trained, and their rows, exactly",
    anyway: "the row of a token with the first prompt that has it",
  },
  "tied-head": {
    what: "an adapter that embedding and head share",
    tells:
      "the head's basis is that of the embedding's A as well: of both layers only rank × rank numbers stay unknown to somebody who has the bundle, and some rank queries tell those",
    anyway: "the same functions, after about 0.6 queries for each input of the head",
  },
};

/** @throws TacetError bad_argument for a name that there is not */
export function parsePartNames(names: readonly string[]): PartName[] {
  return names.map((name) => {
    const part = PART_NAMES.find((known) => known === name);
    if (part) return part;
    throw new TacetError("bad_argument", `there is no part ${JSON.stringify(name.slice(0, 40))} to publish`, {
      hint: `parts are ${PART_NAMES.join(", ")}`,
    });
  });
}

/** A pair of an adapter, of which it is known whether it adapts an embedding. */
interface AdaptedPair extends LoraPair {
  readonly isEmbedding?: boolean;
}

/** The parts that a client of this adapter must be shown, in the order of `PART_NAMES`. */
export function partsToPublish(changes: BaseChanges, modules: Iterable<AdaptedPair>): PartName[] {
  const found = new Set<PartName>();
  for (const [name, { shape }] of changes.tensors)
    found.add(name.endsWith(".bias") ? "bias" : shape.length === 1 ? "norm" : "modules");
  if (changes.biases.size > 0) found.add("bias");
  if (changes.scales.size > 0) found.add("dora-scales");
  if (changes.tokens.size > 0) found.add("tokens");
  if (hasTiedPair([...modules])) found.add("tied-head");
  return PART_NAMES.filter((name) => found.has(name));
}

/** @throws TacetError unsupported_adapter, naming the parts and how to publish them, if one of them is not */
export function refuseUnpublished(needed: readonly PartName[], published: readonly PartName[]): void {
  const missing = needed.filter((part) => !published.includes(part));
  if (missing.length === 0) return;
  const list = missing.map((part) => `${PARTS[part].what} (${part})`).join(", ");
  throw new TacetError(
    "unsupported_adapter",
    `the adapter has parts that every client would have in the clear: ${list}`,
    {
      hint:
        `publish them with --publish ${missing.join(",")} (createBundle: publish) if they may be known: docs/provider.md, ` +
        "What is published, says what each tells. Only the low-rank part is private",
    },
  );
}

/** Whether a head's pair is an embedding's the other way round, as PEFT ties them: B = Aᵀ and A = Bᵀ. */
function hasTiedPair(pairs: readonly AdaptedPair[]): boolean {
  const embeddings = pairs.filter(({ isEmbedding }) => isEmbedding);
  return embeddings.some((embedding) =>
    pairs.some(
      (head) =>
        head.rank === embedding.rank &&
        head.outFeatures === embedding.inFeatures &&
        isTransposed(head.b, embedding.a, embedding.rank),
    ),
  );
}

/** Whether b (columns, rows) has the entries of a (rows, columns), but for roundings. */
function isTransposed(b: Float32Array, a: Float32Array, rows: number): boolean {
  const columns = a.length / rows;
  const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < columns; i++) {
      if (Math.abs(b[i * rows + r] - a[r * columns + i]) > largest / 128) return false;
    }
  }
  return true;
}
