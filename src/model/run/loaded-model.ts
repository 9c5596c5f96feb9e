/** A model whose segments are loaded, with a number for each value that moves between them. */

import type { Tensor, TensorSession } from "../../base/platform.ts";
import type { DeltaSource } from "../delta-source.ts";
import type { LinearPlace } from "../graph/linear-place.ts";
import type { Pair, PairValue } from "../graph/pair.ts";
import {
  isNewStateName,
  isPastStateName,
  LOGITS,
  newRowsName,
  pastKeyName,
  pastValueName,
  presentKeyName,
  presentValueName,
} from "../graph/pass-values.ts";
import type { Segment } from "../graph/segment-builder.ts";

/** A value's number: a decode step moves hundreds of values, and names would cost more than the moves. */
export type Slot = number;

interface SlotOf {
  readonly name: string;
  readonly slot: Slot;
}

/** What happens after a segment has run: a group's deltas, or a pair's, are asked for, or waited for. */
export type LoadedStep = GroupStep | IdsStep | RoutedStep | PairStep;

export interface GroupStep {
  readonly kind: "begin" | "wait";
  readonly group: number;
  /** begin: x; wait: where the deltas go. */
  readonly slot: Slot;
}

export interface IdsStep {
  readonly kind: "begin-ids";
  readonly group: number;
}

export interface RoutedStep {
  readonly kind: "begin-routed";
  readonly group: number;
  /** x */
  readonly slot: Slot;
  /** Row of each route; undefined: its own number. */
  readonly rows: Slot | undefined;
  /** Expert of each route. */
  readonly experts: Slot;
}

export interface PairStep {
  readonly kind: "ask-pair" | "take-pair";
  readonly pair: Pair;
  readonly slots: Readonly<Record<PairValue, Slot>>;
}

/** A segment whose session is loaded. */
export interface LoadedSegment {
  readonly session: TensorSession;
  readonly inputs: readonly SlotOf[];
  readonly outputs: readonly SlotOf[];
  /** Outputs that belong into the cache. */
  readonly newRows: readonly { readonly layer: number; readonly slot: Slot }[];
  /** Outputs that are kept on the device, with the names of the inputs that they take the place of. */
  readonly presents: readonly { readonly past: string; readonly slot: Slot }[];
  /** Those of the inputs that are a layer's state: what the part before has made of it. */
  readonly pastStates: readonly SlotOf[];
  readonly newStates: readonly SlotOf[];
  readonly steps: readonly LoadedStep[];
  /** It makes each row of the same row: of several passes at once too. */
  readonly isByRow: boolean;
  /** Values that nothing after this segment reads. */
  readonly release: readonly Slot[];
  /** Names of outputs that nobody but segments reads: they need not leave the device. */
  readonly kept: readonly string[];
}

/** A model in segments. */
export interface LoadedModel {
  readonly segments: readonly LoadedSegment[];
  readonly slotOf: ReadonlyMap<string, Slot>;
  readonly deltas: DeltaSource | undefined;
  /** What every pass is given of an adapter that is here, by input name (graph/lora-inputs.ts). */
  readonly loras: ReadonlyMap<string, Tensor>;
  /** By group of the DeltaSource. */
  readonly places: readonly LinearPlace[];
  /** By group of the DeltaSource: the pair that it is the second of. */
  readonly pairs: ReadonlyMap<number, LoadedPair>;
}

/** Numbers the values of a chain of segments. */
export function numberValues(
  segments: readonly Segment[],
  layers: number,
): { readonly slotOf: Map<string, Slot>; readonly numbered: readonly Omit<LoadedSegment, "session">[] } {
  const slotOf = new Map<string, Slot>();
  const number = (name: string): Slot => {
    if (!slotOf.has(name)) slotOf.set(name, slotOf.size);
    return slotOf.get(name)!;
  };
  const layerOf = new Map(Array.from({ length: layers }, (_, layer) => [newRowsName(layer), layer]));
  const pastOf = new Map<string, string>();
  for (let layer = 0; layer < layers; layer++) {
    pastOf.set(presentKeyName(layer), pastKeyName(layer));
    pastOf.set(presentValueName(layer), pastValueName(layer));
  }
  const lastRead = new Map<Slot, number>([[number(LOGITS), segments.length]]);
  const numbered = segments.map(({ graph, steps, isByRow }, index) => {
    const slots = (values: readonly { readonly name: string }[]): SlotOf[] =>
      values.map(({ name }) => ({ name, slot: number(name) }));
    const inputs = slots(graph.inputs);
    for (const { slot } of inputs) lastRead.set(slot, index);
    return {
      inputs,
      isByRow,
      outputs: slots(graph.outputs),
      newRows: graph.outputs.flatMap(({ name }) => {
        const layer = layerOf.get(name);
        return layer === undefined ? [] : { layer, slot: number(name) };
      }),
      presents: graph.outputs.flatMap(({ name }) => {
        const past = pastOf.get(name);
        return past === undefined ? [] : { past, slot: number(name) };
      }),
      pastStates: inputs.filter(({ name }) => isPastStateName(name)),
      newStates: slots(graph.outputs.filter(({ name }) => isNewStateName(name))),
      steps: steps.map((step): LoadedStep => {
        if (step.kind === "begin-ids") return step;
        if (step.kind === "begin-routed") {
          const { kind, group, value, rows, experts } = step;
          const read = { rows: rows === undefined ? undefined : number(rows), experts: number(experts) };
          // An earlier segment may have made them.
          for (const slot of Object.values(read)) if (slot !== undefined) lastRead.set(slot, index);
          return { kind, group, slot: number(value), ...read };
        }
        if ("group" in step) return { kind: step.kind, group: step.group, slot: number(step.value) };
        const slots = Object.entries(step.pair.names).map(([key, name]) => [key, number(name)]);
        return { ...step, slots: Object.fromEntries(slots) as Record<PairValue, Slot> };
      }),
    };
  });
  const readHere = new Set<Slot>([number(LOGITS)]);
  for (const { steps, newRows, newStates } of numbered) {
    for (const { slot } of [...newRows, ...newStates]) readHere.add(slot);
    for (const step of steps) for (const slot of slotsOf(step)) readHere.add(slot);
  }
  return {
    slotOf,
    numbered: numbered.map((segment, index) => ({
      ...segment,
      kept: segment.outputs.filter(({ slot }) => !readHere.has(slot)).map(({ name }) => name),
      release: [...segment.inputs, ...segment.outputs]
        .map(({ slot }) => slot)
        .filter((slot) => (lastRead.get(slot) ?? -1) <= index),
    })),
  };
}

/** Values that a step reads or gives. */
function slotsOf(step: LoadedStep): Slot[] {
  if (step.kind === "begin-ids") return [];
  if ("slots" in step) return Object.values(step.slots);
  if (step.kind !== "begin-routed") return [step.slot];
  const { slot, rows, experts } = step;
  return [slot, experts, ...(rows === undefined ? [] : [rows])];
}

/** A pair whose segments are loaded. */
export interface LoadedPair extends Pair {
  readonly slots: Readonly<Record<PairValue, Slot>>;
  /** g */
  readonly gain: Float32Array;
  /** normed → product */
  readonly segment: Pick<LoadedSegment, "session" | "inputs">;
}
