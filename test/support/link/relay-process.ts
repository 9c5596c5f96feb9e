/**
 * The process of links: has a relay for each that is open, under a number that its parent gives it. Answers each message
 * over IPC with one; ends with its parent.
 */
import { Relay, type RelayCounts, type RelayOptions } from "./relay.ts";

/** What a link asks for. */
export type RelayRequest =
  | { readonly link: number; readonly ask: "open"; readonly options: RelayOptions }
  | { readonly link: number; readonly ask: "counts" | "close" };

export interface RelayAnswer {
  readonly link: number;
  /** When it was opened. */
  readonly port?: number;
  readonly counts?: RelayCounts;
}

const relays = new Map<number, Relay>();

process.on("message", async (request: RelayRequest) => {
  process.send!(await answer(request));
});
process.on("disconnect", () => process.exit());

async function answer(request: RelayRequest): Promise<RelayAnswer> {
  const { link } = request;
  if (request.ask === "open") {
    const relay = new Relay(request.options);
    relays.set(link, relay);
    return { link, port: await relay.listen() };
  }
  const relay = relays.get(link)!;
  if (request.ask === "counts") return { link, counts: relay.counts };
  relays.delete(link);
  relay.close();
  return { link };
}
