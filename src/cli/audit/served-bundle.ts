/** A bundle in a state folder that goes away with it, and `tacet provider` in a process of its own that serves it. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CreatedBundle } from "../../bundle/create-bundle.ts";
import { writeStateFolder } from "../../library/node-state-folder.ts";
import { onExit } from "../shared/interrupt.ts";
import { type ProviderProcess, startProvider } from "../shared/provider-process.ts";

export class ServedBundle {
  readonly #state: string;
  readonly #forget: () => void;
  #provider: ProviderProcess | undefined;

  private constructor(state: string) {
    this.#state = state;
    this.#forget = onExit(() => this.#remove());
  }

  /** @throws TacetError internal if the provider does not start */
  static async start(made: CreatedBundle): Promise<ServedBundle> {
    const state = mkdtempSync(join(tmpdir(), "tacet-audit-"));
    const served = new ServedBundle(state);
    try {
      chmodSync(state, 0o700);
      await writeStateFolder(state, made);
      served.#provider = await startProvider(state);
      return served;
    } catch (error) {
      await served.stop();
      throw error;
    }
  }

  get url(): string {
    if (this.#provider === undefined) throw new TypeError("the provider is not running");
    return this.#provider.url;
  }

  /** The same provider once more, from the same folder. Connections are lost. */
  async restart(): Promise<void> {
    await this.#provider?.stop();
    this.#provider = undefined;
    this.#provider = await startProvider(this.#state);
  }

  async stop(): Promise<void> {
    await this.#provider?.stop();
    this.#remove();
    this.#forget();
  }

  #remove(): void {
    rmSync(this.#state, { recursive: true, force: true });
  }
}
