/** Writes the forward pass of a decoder that is described as data. */

import { addThenLinear } from "./blocks/add-then-linear.ts";
import { splitColumns } from "./blocks/columns.ts";
import { embedTokens } from "./blocks/embedding.ts";
import { logits } from "./blocks/logits.ts";
import { addNorm, type Norm, norm } from "./blocks/norm.ts";
import type { Block, Branch, Decoder, DecoderConfig, Module } from "./decoder.ts";
import { linear } from "./linear-layer.ts";
import type { LinearPlace } from "./linear-place.ts";
import { attentionWriter } from "./modules/attention.ts";
import { deltaNetWriter } from "./modules/delta-net.ts";
import { expertsWriter } from "./modules/experts.ts";
import { mlpWriter } from "./modules/mlp.ts";
import type { ModuleWriter, PlaceInput } from "./modules/module-writer.ts";
import { PassWriter } from "./modules/pass-writer.ts";
import { perLayerInputWriter } from "./modules/per-layer-input.ts";
import type { Value } from "./onnx-graph.ts";
import { FIRST_ROW, IDS, type LayerCache, PAST, type PassInputs, TABLE_START, TOTAL } from "./pass-values.ts";
import type { Segment, SegmentBuilder } from "./segment-builder.ts";

/** By kind. */
const WRITERS: { readonly [K in Module["kind"]]: ModuleWriter<Extract<Module, { kind: K }>> } = {
  attention: attentionWriter,
  mlp: mlpWriter,
  experts: expertsWriter,
  "delta-net": deltaNetWriter,
  "per-layer-input": perLayerInputWriter,
};

function writerOf<M extends Module>({ kind }: M): ModuleWriter<M> {
  return WRITERS[kind] as unknown as ModuleWriter<M>;
}

/** All linear modules in forward order: the embedding, those of the layers, the head. */
export function linearPlaces({ embedding, blocks, head }: Decoder): LinearPlace[] {
  const inLayers = blocks.flat().flatMap(({ branches, shared }) => {
    const places = branches.map(({ module }) => {
      const entry = shared && writerOf(module).entry(module);
      return writerOf(module)
        .places(module)
        .filter((place) => place !== entry);
    });
    return [...(shared ? [shared.place] : []), ...places.flat()];
  });
  return [embedding.place, ...inLayers, head.place];
}

/** What each layer keeps of the tokens that have been read; null: nothing. */
export function layerCaches({ blocks }: Decoder): (LayerCache | null)[] {
  const caches: (LayerCache | null)[] = blocks.map(() => null);
  for (const { module } of blocks.flat().flatMap(({ branches }) => branches)) {
    const kept = writerOf(module).cache?.(module);
    if (kept) caches[kept.layer] = kept.cache;
  }
  return caches;
}

/** What there is to tell of a decoder in a few lines: its sizes, and the kinds of attention in it. */
export function outlineOf(decoder: Decoder): DecoderConfig & { readonly attention: readonly object[] } {
  const { layers, hiddenSize, heads, vocabSize, trainedContext, contextLimit, longFrom, blocks } = decoder;
  const kinds = new Map<string, object>();
  for (const { module } of blocks.flat().flatMap(({ branches }) => branches)) {
    if (module.kind !== "attention") continue;
    const { kvHeads, headDim, window, rotary } = module;
    const kind = { heads: module.heads, kvHeads, headDim, window, rotary };
    kinds.set(JSON.stringify(kind), kind);
  }
  return {
    layers,
    hiddenSize,
    heads,
    vocabSize,
    trainedContext,
    ...(contextLimit === undefined ? {} : { contextLimit }),
    ...(longFrom === undefined ? {} : { longFrom }),
    attention: [...kinds.values()],
  };
}

/** From the given tensors to the logits of the rows asked for, (1, rows, vocab). */
function writeDecoder(builder: SegmentBuilder, decoder: Decoder, given: PassInputs): Value {
  const pass = new PassWriter(builder, given);
  const embedded = embedTokens(pass, decoder);
  builder.endOfTables();
  const flow = new Flow(pass, embedded);
  for (const block of decoder.blocks.flat()) writeBlock(flow, block);
  return logits(pass, flow.finish(decoder.finalNorm), decoder.head);
}

function writeBlock(flow: Flow, block: Block): void {
  const { branches, shared, scale = 1, residual = "input", gain } = block;
  const { pass } = flow;
  const { builder } = pass;
  // All of them read h: what the first one adds comes after what the last one reads.
  const outputs: (PlaceInput | Value)[] = [];
  const joined = shared && splitShared(flow, block, shared);
  for (const [i, branch] of branches.entries()) {
    const entered = joined?.[i] ?? flow.enter(branch, residual === "normed");
    const output = writerOf(branch.module).write(pass, branch.module, entered);
    const isLast = i === branches.length - 1;
    // Its answer can wait for the next norm only if nothing stands between.
    if (isLast && branch.behind === null && scale === 1) {
      outputs.push(output);
      continue;
    }
    let value = "place" in output ? linear(builder, output.place, output.x) : output;
    if (branch.behind) value = norm(builder, value, branch.behind);
    outputs.push(scale === 1 ? value : multiply(pass, value, scale));
  }
  for (const output of outputs) flow.add(output);
  if (gain !== undefined) flow.multiply(gain);
}

/** One product for the modules that all branches begin with, taken apart. */
function splitShared(
  flow: Flow,
  { branches }: Block,
  { before, place }: NonNullable<Block["shared"]>,
): Value[] {
  const joined = flow.enterPlace(before, place);
  const widths = branches.map(({ module }) => {
    const { outFeatures } = writerOf(module).entry(module)!;
    return outFeatures.reduce((sum, out) => sum + out, 0);
  });
  return splitColumns(flow.pass.builder, joined, widths);
}

function multiply({ builder }: PassWriter, x: Value, factor: number): Value {
  const constant = builder.graph.constant([1], Float32Array.of(factor));
  return builder.node("Mul", [x, constant], [{ dims: x.dims }])[0];
}

/** h on its way through the blocks. The last output is added together with the norm that reads the sum. */
class Flow {
  readonly pass: PassWriter;
  #residual: Value;
  #added: PlaceInput | Value | undefined;

  constructor(pass: PassWriter, embedded: Value) {
    this.pass = pass;
    this.#residual = embedded;
  }

  add(output: PlaceInput | Value): void {
    if (this.#added) this.#settle();
    this.#added = output;
  }

  /** h · the one entry of a tensor */
  multiply(weight: string): void {
    const { builder } = this.pass;
    const h = this.#settle();
    const [scaled] = builder.node("Mul", [h, builder.weight(weight, [1])], [{ dims: h.dims }]);
    this.#residual = scaled;
  }

  /** What a branch's module starts from: its first places' product, or the norm itself. */
  enter({ before, module }: Branch, residualIsNormed: boolean): Value {
    const entry = writerOf(module).entry(module);
    if (entry && !residualIsNormed) return this.enterPlace(before, entry);
    const x = this.#normed(before);
    if (residualIsNormed) this.#residual = x;
    return entry ? linear(this.pass.builder, entry, x) : x;
  }

  /** W·norm(h) + b + delta */
  enterPlace(before: Norm | null, place: LinearPlace): Value {
    const { builder } = this.pass;
    if (before?.kind === "rms" && this.#added && "place" in this.#added) {
      const [y, sum] = addThenLinear(builder, this.#residual, this.#added, before, place);
      this.#residual = sum;
      this.#added = undefined;
      return y;
    }
    return linear(builder, place, this.#normed(before));
  }

  /** The last norm of h. */
  finish(last: Norm | null): Value {
    return this.#normed(last);
  }

  #normed(before: Norm | null): Value {
    const { builder } = this.pass;
    if (before === null) return this.#settle();
    if (!this.#added) return norm(builder, this.#residual, before);
    const [x, sum] = addNorm(builder, this.#residual, this.#product(this.#added), before);
    this.#residual = sum;
    this.#added = undefined;
    return x;
  }

  #settle(): Value {
    const { builder } = this.pass;
    if (this.#added) {
      const y = this.#product(this.#added);
      this.#residual = builder.node("Add", [this.#residual, y], [{ dims: this.#residual.dims }])[0];
      this.#added = undefined;
    }
    return this.#residual;
  }

  #product(output: PlaceInput | Value): Value {
    return "place" in output ? linear(this.pass.builder, output.place, output.x) : output;
  }
}

/** The forward pass of a decoder, from the ids to the logits. */
export function writeSegments(
  builder: SegmentBuilder,
  decoder: Decoder,
  maxPositions: number,
): readonly Segment[] {
  const logits = writeDecoder(builder, decoder, {
    ids: builder.given(IDS, "int64", [1, "tokens"]),
    past: builder.given(PAST, "int32", [1]),
    total: builder.given(TOTAL, "int32", [1]),
    firstRow: builder.given(FIRST_ROW, "int64", [1]),
    tableStart: builder.given(TABLE_START, "int32", [1]),
    maxPositions,
  });
  builder.expose(logits);
  return builder.finish();
}
