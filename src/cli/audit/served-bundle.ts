/**
 * A bundle in a state folder that goes away with it, and `tacet provider` in a separate process that serves it to accounts of a
 * data folder.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CreatedBundle } from "../../bundle/create-bundle.ts";
import { changeKeys } from "../../library/node-data-folder.ts";
import { writeStateFolder } from "../../library/node-state-folder.ts";
import { createApiKey } from "../../provider/api-keys.ts";
import { onExit } from "../shared/interrupt.ts";
import { type ProviderProcess, startProvider } from "../shared/provider-process.ts";

/** Accounts that all attacks together may open. */
const ACCOUNTS = 1024;

export class ServedBundle {
  readonly #folder: string;
  readonly #state: string;
  readonly #data: string;
  /** API keys of accounts that nobody uses yet. */
  #tokens: string[] = [];
  readonly #forget: () => void;
  #provider: ProviderProcess | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#state = join(folder, "state");
    this.#data = join(folder, "data");
    this.#forget = onExit(() => this.#remove());
  }

  /** @throws TacetError internal if the provider does not start */
  static async start(made: CreatedBundle): Promise<ServedBundle> {
    const served = new ServedBundle(mkdtempSync(join(tmpdir(), "tacet-audit-")));
    try {
      for (const folder of [served.#state, served.#data]) mkdirSync(folder, { mode: 0o700 });
      await writeStateFolder(served.#state, made);
      const created = Array.from({ length: ACCOUNTS }, () => createApiKey({ budget: null }));
      served.#tokens = created.map(({ key }) => key);
      await changeKeys(served.#data, () => created.map(({ record }) => record));
      await served.#start();
      return served;
    } catch (error) {
      await served.stop();
      throw error;
    }
  }

  /** The API key of an account that has asked nothing. */
  newToken(): string {
    const token = this.#tokens.pop();
    if (token === undefined) throw new RangeError(`the audit has used its ${ACCOUNTS} accounts`);
    return token;
  }

  get url(): string {
    if (this.#provider === undefined) throw new TypeError("the provider is not running");
    return this.#provider.url;
  }

  /** The same provider once more, from the same folder. Connections are lost. */
  async restart(): Promise<void> {
    await this.#provider?.stop();
    this.#provider = undefined;
    await this.#start();
  }

  async stop(): Promise<void> {
    await this.#provider?.stop();
    this.#remove();
    this.#forget();
  }

  async #start(): Promise<void> {
    this.#provider = await startProvider(this.#state, ["--data", this.#data]);
  }

  #remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
