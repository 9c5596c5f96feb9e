/** `tacet provider` in a separate process. */
import { spawnTacet, stopTacet, type TacetProcess } from "./tacet-process.ts";

export type ProviderProcess = TacetProcess;

/** @param args further options of `tacet provider` */
export async function startProvider(
  state: string,
  { port = 0, args = [] }: { port?: number; args?: readonly string[] } = {},
): Promise<ProviderProcess> {
  return await spawnTacet(["provider", "--state", state, "--port", String(port), ...args]);
}

/** Ends every provider that this test file has started. */
export const stopProviders = stopTacet;
