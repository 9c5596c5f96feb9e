/** A model of which ONNX Runtime runs parts, and this page what is between them: products of rounded weights, look-ups. */
import type { ModelStage, TableLookup, Tensor, TensorSession } from "../../../base/platform.ts";
import type { ProductTeam, TeamMatrix } from "./team.ts";

interface OpenedStage {
  readonly part?: {
    readonly session: TensorSession;
    readonly inputs: readonly string[];
  };
  readonly products: readonly { readonly x: string; readonly y: string; readonly matrix: TeamMatrix }[];
  readonly lookups: readonly TableLookup[];
}

export class StagedSession implements TensorSession {
  readonly #team: ProductTeam;
  readonly #stages: OpenedStage[] = [];
  #disposing: Promise<void> | undefined;

  private constructor(team: ProductTeam) {
    this.#team = team;
  }

  /** @param openPart makes a session of a part's model */
  static async open(
    stages: readonly ModelStage[],
    openPart: (model: NonNullable<ModelStage["part"]>["model"]) => Promise<TensorSession>,
    team: ProductTeam,
    threads: number,
  ): Promise<StagedSession> {
    const opened = new StagedSession(team);
    try {
      for (const { part, products, lookups } of stages) {
        const held: OpenedStage["products"][number][] = [];
        const session = part && (await openPart(part.model));
        opened.#stages.push({
          ...(part && session ? { part: { session, inputs: part.inputs } } : {}),
          products: held,
          lookups,
        });
        for (const { x, y, matrix } of products)
          held.push({ x, y, matrix: await team.hold(matrix, threads) });
      }
      return opened;
    } catch (error) {
      await opened.dispose();
      throw error;
    }
  }

  /** All values that were made, the outputs among them. */
  async run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    const values: Record<string, Tensor> = { ...inputs };
    for (const { part, products, lookups } of this.#stages) {
      if (part) {
        const feeds: Record<string, Tensor> = {};
        for (const name of part.inputs) feeds[name] = values[name];
        const results = await part.session.run(feeds);
        for (const name in results) values[name] = results[name];
      }
      for (const { x, y, matrix } of products) values[y] = this.#product(matrix, values[x]);
      for (const lookup of lookups) values[lookup.y] = await rowsOf(lookup, values[lookup.ids]);
    }
    return values;
  }

  dispose(): Promise<void> {
    return (this.#disposing ??= this.#disposeAll());
  }

  #product(matrix: TeamMatrix, { data, dims }: Tensor): Tensor {
    const tokens = data.length / matrix.columns;
    const y = this.#team.multiply(matrix, data as Float32Array, tokens);
    return { type: "float32", dims: [...dims.slice(0, -1), matrix.rows], data: y };
  }

  async #disposeAll(): Promise<void> {
    for (const { part, products } of this.#stages) {
      await part?.session.dispose();
      for (const { matrix } of products) await this.#team.release(matrix);
    }
  }
}

async function rowsOf({ width, row }: TableLookup, { data, dims }: Tensor): Promise<Tensor> {
  const ids = Array.from(data as BigInt64Array, Number);
  const different = [...new Set(ids)];
  const read = await Promise.all(different.map(row));
  const rows = new Map(different.map((id, i) => [id, read[i]]));
  const all = new Float32Array(ids.length * width);
  for (const [i, id] of ids.entries()) all.set(rows.get(id)!, i * width);
  return { type: "float32", dims: [...dims, width], data: all };
}
