/** What an encryption thread does: makes one query after another, each under masks that it has drawn itself. */
import { QueryMaker } from "../../pll/query-maker.ts";
import { systemRandom } from "../../ring/random-source.ts";
import { MaskStock, threadStock } from "../mask-stock.ts";
import type { Done, FromThread, EncryptionJob, ToThread } from "./messages.ts";

interface Maker {
  readonly queries: QueryMaker;
  readonly stock: MaskStock;
}

/** @param post sends a message to the client's thread @returns what takes those of the client's thread */
export function serveEncryption(
  post: (message: FromThread, transfer: readonly ArrayBuffer[]) => void,
): (message: ToThread) => void {
  let maker: Maker | undefined;
  return (message) => {
    switch (message.type) {
      case "setup": {
        const { layers, threads } = message;
        const queries = new QueryMaker(layers, systemRandom);
        const size = threadStock(layers.inFeatures.length, threads);
        const stock = new MaskStock(queries.masks, { ...size, onFull: () => post({ type: "full" }, []) });
        maker = { queries, stock };
        post({ type: "ready" }, []);
        break;
      }
      case "idle":
        if (message.isIdle) maker?.stock.rest();
        else maker?.stock.pause();
        break;
      case "job": {
        const done = compute(maker, message);
        const { query } = done;
        const moved = query === undefined ? [] : [query.bytes.buffer, query.secrets.buffer];
        post(done, [done.memory, ...(moved as ArrayBuffer[])]);
      }
    }
  };
}

function compute(maker: Maker | undefined, { id, group, vectors, x, memory }: EncryptionJob): Done {
  const start = performance.now();
  let query: Done["query"];
  try {
    query = maker?.queries.make(group, x, { memory, masks: maker.stock.take(vectors) });
  } catch {
    // The client's thread tries it too, and says what is wrong.
  }
  x.fill(0);
  return { type: "done", id, query, memory: x.buffer as ArrayBuffer, ms: performance.now() - start };
}
