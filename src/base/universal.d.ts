// Globals that Node, browsers and workers all have. Universal code is compiled without DOM and Node
// types, so a runtime API that is not listed here does not type-check there.

declare namespace WebAssembly {
  class Module {
    constructor(bytes: ArrayBuffer | ArrayBufferView);
  }
  class Instance {
    constructor(module: Module, imports?: Record<string, Record<string, unknown>>);
    readonly exports: Record<string, unknown>;
  }
  interface Memory {
    readonly buffer: ArrayBuffer;
    grow(pages: number): number;
  }
}

declare const crypto: { getRandomValues<T extends ArrayBufferView>(array: T): T };
declare const performance: { now(): number };
declare function setTimeout(handler: () => void, ms?: number): unknown;
declare function clearTimeout(handle: unknown): void;
declare function queueMicrotask(handler: () => void): void;
declare function atob(base64: string): string;

declare class TextEncoder {
  encode(text: string): Uint8Array;
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(bytes?: Uint8Array, options?: { stream?: boolean }): string;
}

interface AbortSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: () => void, options?: { once?: boolean }): void;
  removeEventListener(type: "abort", listener: () => void): void;
  throwIfAborted(): void;
}

interface AbortController {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}
declare const AbortController: new () => AbortController;

// Of the Fetch and Streams standards, what an HTTP endpoint needs.
interface Headers {
  get(name: string): string | null;
  set(name: string, value: string): void;
}
interface ReadableStreamReader {
  read(): Promise<{ done: false; value: Uint8Array } | { done: true; value?: undefined }>;
  cancel(reason?: unknown): Promise<void>;
}
interface ReadableStream {
  getReader(): ReadableStreamReader;
}
declare const ReadableStream: new (source: {
  start(controller: { enqueue(chunk: Uint8Array): void; close(): void }): void;
  cancel(): void;
}) => ReadableStream;
interface Request {
  readonly method: string;
  readonly url: string;
  readonly headers: Headers;
  readonly signal: AbortSignal;
  readonly body: ReadableStream | null;
}
interface Response {
  readonly status: number;
  readonly headers: Headers;
}
declare const Response: new (
  body: string | ReadableStream | null,
  init?: { status?: number; headers?: Record<string, string> },
) => Response;
declare const URL: new (url: string) => { readonly pathname: string };
