/** Cuts a graph at nodes that are computed outside it: products of rounded weights, look-ups in tables. */

/** What is read and written by name; "" is an optional value left out. */
interface StagedNode {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** Nodes that run together, and then those outside. */
export interface GraphStage<N> {
  readonly nodes: readonly N[];
  /** What the nodes read of the graph's inputs, of earlier stages, and of what was computed outside. */
  readonly inputs: readonly string[];
  /** What they make for nodes outside and later stages, or as results. */
  readonly outputs: readonly string[];
  readonly outside: readonly N[];
}

export interface StageOptions<N> {
  isOutside(node: N): boolean;
  /** Weights, and what is computed of them alone: each stage does that for itself, at load. */
  isConstant(name: string): boolean;
  /** What the whole graph gives. */
  readonly results: readonly string[];
}

/**
 * As few stages as there are nodes outside that wait for each other, one more at most: those that do not are in one stage.
 *
 * @param nodes in an order in which they can run
 */
export function stagesOf<N extends StagedNode>(
  nodes: readonly N[],
  { isOutside, isConstant, results }: StageOptions<N>,
): GraphStage<N>[] {
  /** The first stage whose nodes can read a value. */
  const readyAt = new Map<string, number>();
  const maker = new Map<string, N>();
  const inStage: { nodes: N[]; outside: N[] }[] = [];
  for (const node of nodes) {
    for (const name of node.outputs) maker.set(name, node);
    if (node.outputs.every((name) => name === "" || isConstant(name))) continue;
    const stage = Math.max(0, ...node.inputs.map((name) => readyAt.get(name) ?? 0));
    const { nodes: own, outside } = (inStage[stage] ??= { nodes: [], outside: [] });
    (isOutside(node) ? outside : own).push(node);
    for (const name of node.outputs) readyAt.set(name, isOutside(node) ? stage + 1 : stage);
  }
  const stages = Array.from(inStage, (stage) => stage ?? { nodes: [], outside: [] });
  /** The last stage that reads a value after its nodes have run. */
  const readAfter = new Map<string, number>(results.map((name) => [name, stages.length]));
  const note = (name: string, stage: number) =>
    readAfter.set(name, Math.max(stage, readAfter.get(name) ?? -1));
  for (const [stage, { nodes, outside }] of stages.entries()) {
    for (const name of nodes.flatMap(({ inputs }) => inputs)) note(name, stage);
    // They read behind the nodes of their stage.
    for (const name of outside.flatMap(({ inputs }) => inputs)) note(name, stage + 0.5);
  }
  return stages.map(({ nodes, outside }, stage) => {
    const made = new Set(nodes.flatMap(({ outputs }) => outputs));
    const read = new Set(nodes.flatMap(({ inputs }) => inputs).filter((name) => name !== ""));
    return {
      nodes: [...constantsOf(nodes, maker, isConstant), ...nodes],
      inputs: [...read].filter((name) => !made.has(name) && !isConstant(name)),
      outputs: [...made].filter((name) => name !== "" && (readAfter.get(name) ?? -1) > stage),
      outside,
    };
  });
}

/** The nodes that make the constants of others, in an order in which they can run. */
function constantsOf<N extends StagedNode>(
  nodes: readonly N[],
  maker: ReadonlyMap<string, N>,
  isConstant: (name: string) => boolean,
): N[] {
  const found = new Set<N>();
  const visit = ({ inputs }: N): void => {
    for (const name of inputs) {
      const made = isConstant(name) ? maker.get(name) : undefined;
      if (made === undefined || found.has(made)) continue;
      visit(made);
      found.add(made);
    }
  };
  for (const node of nodes) visit(node);
  return [...found];
}
