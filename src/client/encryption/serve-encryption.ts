/** What an encryption thread does: makes one query after another, each under masks that it draws itself. */
import { QueryMaker } from "../../pll/query-maker.ts";
import { systemRandom } from "../../ring/random-source.ts";
import type { Done, FromThread, Job, ToThread } from "./messages.ts";

/** @param post sends a message to the client's thread @returns what takes those of the client's thread */
export function serveEncryption(
  post: (message: FromThread, transfer: readonly ArrayBuffer[]) => void,
): (message: ToThread) => void {
  let maker: QueryMaker | undefined;
  return (message) => {
    if (message.type === "setup") {
      maker = new QueryMaker(message.layers, systemRandom);
      post({ type: "ready" }, []);
      return;
    }
    const done = compute(maker, message);
    const memory = done.query === undefined ? [] : [done.query.bytes.buffer, done.query.secrets.buffer];
    post(done, [done.memory, ...(memory as ArrayBuffer[])]);
  };
}

function compute(maker: QueryMaker | undefined, { id, group, x, memory }: Job): Done {
  const start = performance.now();
  let query: Done["query"];
  try {
    query = maker?.make(group, x, memory);
  } catch {
    // The client's thread tries it too, and says what is wrong.
  }
  x.fill(0);
  return { type: "done", id, query, memory: x.buffer as ArrayBuffer, ms: performance.now() - start };
}
