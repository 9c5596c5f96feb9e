/** The base model of the page: where it runs, and its conversation. In memory it is there once, alone or with an adapter. */
import type { Device } from "../src/base/device.ts";
import { TacetError } from "../src/base/errors.ts";
import type { Platform } from "../src/base/platform.ts";
import type { SharedModels } from "../src/client/private-model.ts";
import { CausalLm, ChatSession, hasChatTemplate } from "../src/entry/model.ts";
import { type GpuAdapter, webGpuAdapter, webPlatform } from "../src/platform/web.ts";
import type { Checkpoint } from "../src/weights/checkpoint.ts";
import type { RunsOn, Settings } from "./messages.ts";
import { loadOrt } from "./ort.ts";

interface Loaded {
  readonly model: CausalLm;
  /** Of a model without a chat template undefined until an adapter brings one. */
  readonly chat: ChatSession | undefined;
}

type Progress = (stage: string) => (fraction: number) => void;

export class BaseSide {
  readonly checkpoint: Checkpoint;
  readonly runsOn: RunsOn;
  readonly #platform: Platform;
  readonly #load: () => Promise<CausalLm>;
  /** Pending while it is loaded again. */
  #now: Promise<Loaded>;
  #hasChat: boolean;
  /** The answer that is being given. */
  #answering: Promise<unknown> = Promise.resolve();

  private constructor(
    checkpoint: Checkpoint,
    runsOn: RunsOn,
    platform: Platform,
    load: () => Promise<CausalLm>,
    loaded: Loaded,
  ) {
    this.checkpoint = checkpoint;
    this.runsOn = runsOn;
    this.#platform = platform;
    this.#load = load;
    this.#now = Promise.resolve(loaded);
    this.#hasChat = loaded.chat !== undefined;
  }

  /**
   * On the device that was asked for; if none was, on a GPU that is one and has the model's operators, else on the
   * processor.
   */
  static async open(
    checkpoint: Checkpoint,
    { device, weights = "original" }: Settings,
    page: string,
    progress: Progress,
  ): Promise<BaseSide> {
    const openOn = async (chosen: Device, adapter?: GpuAdapter, without?: string): Promise<BaseSide> => {
      const { ort, hostOrt } = await loadOrt(chosen, page);
      const platform = webPlatform(ort, { device: chosen, hostOrt });
      const load = async (): Promise<CausalLm> =>
        await CausalLm.load(checkpoint, platform.tensors, {
          weights,
          weightCache: platform.weightCache,
          onPrepare: ({ step, fraction }) =>
            progress(step === "quantizing" ? "Making smaller weights, once" : "Checking the weights")(
              fraction,
            ),
          onProgress: progress("Preparing the model"),
        });
      const model = await load();
      const chat = (await hasChatTemplate(checkpoint)) ? await openChat(model, checkpoint, []) : undefined;
      const runsOn: RunsOn = {
        device: chosen,
        // As the library has begun them: small models take one.
        threads: ort.env.wasm.numThreads ?? 1,
        weights,
        gpu: adapter && nameOf(adapter),
        without,
      };
      return new BaseSide(checkpoint, runsOn, platform, load, { model, chat });
    };
    if (device !== undefined) {
      return await openOn(device, device === "webgpu" ? await webGpuAdapter() : undefined);
    }
    const adapter = await webGpuAdapter();
    if (adapter === undefined || adapter.info?.isFallbackAdapter === true) return await openOn("cpu");
    try {
      return await openOn("webgpu", adapter);
    } catch (error) {
      if (!(error instanceof TacetError) || error.code !== "unsupported_model") throw error;
      return await openOn("cpu", undefined, error.message);
    }
  }

  /** False: an adapter must bring a chat template first. */
  get hasChat(): boolean {
    return this.#hasChat;
  }

  /** Where it is being loaded again, when that is done. */
  async chat(): Promise<ChatSession> {
    const { chat } = await this.#now;
    if (chat) return chat;
    throw new TacetError(
      "not_ready",
      "the base model has no chat template, and the adapter is not there yet",
    );
  }

  /** The model is not replaced while an answer is being given. */
  during<T>(answer: () => Promise<T>): Promise<T> {
    const running = answer();
    this.#answering = running.catch(() => {});
    return running;
  }

  reset(): void {
    void this.#now.then(({ chat }) => chat?.reset()).catch(() => {});
  }

  /**
   * Opens it with an adapter. When the first session is made, the one that is loaded now goes: both together may be more
   * than a page can have. If that fails it comes back alone.
   */
  async replace(open: (platform: Platform) => Promise<SharedModels>): Promise<SharedModels> {
    let retired: Loaded | undefined;
    let settle: (next: Promise<Loaded>) => void = () => {};
    const retire = async (): Promise<void> => {
      const current = this.#now;
      const answering = this.#answering;
      this.#now = new Promise((resolve) => (settle = resolve));
      this.#now.catch(() => {}); // whoever asks is told
      retired = await current;
      await answering;
      await retired.model.dispose();
    };
    let retiring: Promise<void> | undefined;
    const { tensors } = this.#platform;
    const platform: Platform = {
      ...this.#platform,
      tensors: {
        ...tensors,
        createSession: async (...model) => {
          await (retiring ??= retire());
          return await tensors.createSession(...model);
        },
      },
    };
    try {
      const shared = await open(platform);
      settle(this.#joined(shared, retired));
      await this.#now;
      return shared;
    } catch (error) {
      if (retired) settle(this.#alone(retired));
      throw error;
    }
  }

  async #joined({ base, models }: SharedModels, before: Loaded | undefined): Promise<Loaded> {
    const model = base!;
    // A base that was not trained for chat is asked as the adapter is.
    const checkpoint = (await hasChatTemplate(this.checkpoint)) ? this.checkpoint : models[0].checkpoint;
    const chat = await openChat(model, checkpoint, before?.chat?.messages ?? []);
    this.#hasChat = true;
    return { model, chat };
  }

  async #alone(before: Loaded): Promise<Loaded> {
    const model = await this.#load();
    const chat = before.chat && (await openChat(model, this.checkpoint, before.chat.messages));
    return { model, chat };
  }
}

const openChat = (
  model: CausalLm,
  checkpoint: Checkpoint,
  messages: ChatSession["messages"],
): Promise<ChatSession> => ChatSession.open(model, checkpoint, { overflow: "drop-oldest", messages });

function nameOf({ info }: GpuAdapter): string {
  const { vendor = "", architecture = "", description = "" } = info ?? {};
  return description || [vendor, architecture].filter(Boolean).join(" ") || "GPU";
}
