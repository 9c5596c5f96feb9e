/** `tacet provider` in a separate process. */
import { spawnTacet, stopTacet, type TacetProcess } from "./tacet-process.ts";

export type ProviderProcess = TacetProcess;

/** @param args further options of `tacet provider` */
export async function startProvider(
  state: string,
  { port = 0, args = [] }: { port?: number; args?: readonly string[] } = {},
): Promise<ProviderProcess> {
  // On busy cores one that stays awake for its next query takes the time from whoever makes that query.
  const options = ["--state", state, "--port", String(port), "--poll-micros", "0"];
  return await spawnTacet(["provider", ...options, ...args]);
}

/** Ends every provider that this test file has started. */
export const stopProviders = stopTacet;
