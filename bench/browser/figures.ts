/** What a bench asks of its page, and what it gets. */
export interface Wishes {
  readonly folder: {
    readonly url: string;
    readonly files: readonly { readonly path: string; readonly size: number }[];
    readonly version: string;
  };
  readonly device: "cpu" | "webgpu";
  readonly weights: "original" | "int8" | "int4";
  readonly promptTokens: number;
  readonly decodeTokens: number;
}

/** Milliseconds; an error instead where it failed. */
export interface Figures {
  readonly threads?: number;
  readonly fetchMs?: number;
  readonly firstLoadMs?: number;
  readonly loadMs?: number;
  readonly promptMs?: number;
  readonly tokenMs?: number;
  readonly error?: string;
}
