/**
 * What differs by runtime, passed in as values: files and tensors are reached through these interfaces only,
 * so that everything above `platform/` is the same code in Node, a browser and a worker.
 */
import type { Device } from "./device.ts";
import type { WaitingShare } from "./waiting-share.ts";

/** Read access to a tree of files: a folder on disk, a set of HTTP URLs, an origin-private file system. */
export interface FileTree {
  /** For messages: the path or URL of the root. */
  readonly label: string;
  /** Size in bytes, or undefined if there is no such file. */
  size(path: string): Promise<number | undefined>;
  /** Bytes [offset, offset + length) of a file. Throws TacetError io_failed when fewer exist. */
  read(path: string, offset: number, length: number): Promise<Uint8Array>;
  /** Names of the files directly under the root. */
  list(): Promise<readonly string[]>;
  /** An absolute path that a native library in this process can open, where the runtime has such a thing. */
  nativePath(path: string): string | undefined;
}

/**
 * Large files that were made here and can be made again. The last 32 bytes of each are a digest of the others, which the
 * cache makes and checks.
 */
export interface FileCache {
  /** The folder with the files. Throws TacetError io_failed before the first one is made. */
  readonly files: FileTree;
  /** Begins to read a file through, in another thread where the platform can. undefined: there is no such file. */
  check(name: string, options?: FileCheckOptions): Promise<FileCheck | undefined>;
  /**
   * Begins a file that is not there before it is finished, whoever else makes the same one.
   *
   * @param bytes that will be appended, without the 32 of the digest
   * @throws TacetError io_failed if the disk has no room for them
   */
  create(name: string, bytes: number): Promise<FileWriter>;
}

/** A check that goes on. */
export interface FileCheck {
  /** false: it was damaged, cut off or changed, and has been removed. */
  readonly isWhole: Promise<boolean>;
}

export interface FileCheckOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

export interface FileWriter {
  /** Throws TacetError io_failed, also on a full disk. */
  append(bytes: Uint8Array): Promise<void>;
  /** Appends the digest and gives the file its name. */
  finish(): Promise<void>;
  /** Leaves nothing behind. After `finish` it does nothing. */
  discard(): Promise<void>;
}

/** A message socket: ordered, reliable, binary. */
export interface MessageSocket {
  /** Network address of the other end, where a server knows it. */
  readonly address?: string | undefined;
  send(message: Uint8Array): void;
  /** Calls `send`; what it sends travels together, where the socket can do that. */
  together?(send: () => void): void;
  /** send has copied the message when it returns, so that its memory may be written to. */
  readonly copies?: boolean | undefined;
  /** Bytes accepted by send and not yet handed to the network. */
  readonly bufferedBytes: number;
  /** At a server: where what waits for this connection is counted. */
  readonly share?: WaitingShare | undefined;
  close(code: number, reason: string): void;
  onMessage: (message: Uint8Array) => void;
  /** Called once, after the last message. */
  onClose: (code: number, reason: string) => void;
}

export type TensorData = Float32Array | BigInt64Array | Int32Array | Uint16Array | Uint8Array;

export interface Tensor {
  readonly type: "float32" | "int64" | "int32" | "float16" | "uint8";
  readonly dims: readonly number[];
  /** Not of a tensor that was kept on the device (SessionOptions.keep): it can only be given to sessions. */
  readonly data: TensorData;
  /** Of a tensor on the device: frees its memory there. */
  free?(): void;
}

/** An ONNX file in memory whose initializers may point into other files (external data). */
export interface OnnxModel {
  readonly bytes: Uint8Array;
  /** Every file its initializers point at, by the location name that the model uses. */
  readonly externalFiles: readonly { location: string; tree: FileTree; path: string }[];
  /** How much of those files it uses. */
  readonly weightBytes?: number;
  /**
   * The same model for a runtime that is given bytes: each tensor of a file is under a separate location, in float32 where
   * the graph would begin by widening it.
   */
  inParts?(): ModelInParts;
  /**
   * The same model for a runtime that computes products of rounded weights by itself, and reads rows of tables where they
   * lie: in the order in which it runs. Undefined: it has neither.
   */
  inStages?(): readonly ModelStage[] | undefined;
}

export interface ModelInParts {
  readonly bytes: Uint8Array;
  readonly tensors: readonly {
    readonly location: string;
    readonly length: number;
    read(): Promise<Uint8Array>;
  }[];
}

/** A part of a graph, and then products and look-ups of values that are there. Names are the whole graph's. */
export interface ModelStage {
  /** Absent: nothing is to be done before. */
  readonly part?: {
    readonly model: ModelInParts;
    readonly inputs: readonly string[];
    readonly outputs: readonly string[];
  };
  readonly products: readonly RoundedProduct[];
  readonly lookups: readonly TableLookup[];
}

/** Rows of a table that stays in its file: ids (…) → y (…, width), float32. */
export interface TableLookup {
  readonly ids: string;
  readonly y: string;
  readonly width: number;
  row(id: number): Promise<Float32Array>;
}

/** y = W·x for each row of x (…, columns) → (…, rows), float32. */
export interface RoundedProduct {
  readonly x: string;
  readonly y: string;
  readonly matrix: RoundedWeights;
}

/** A matrix in the blocks of weights/quantize-blocks.ts; what is read of it are its rows [first, first + count). */
export interface RoundedWeights extends RoundedShape {
  codes(first: number, count: number): Promise<Uint8Array>;
  scales(first: number, count: number): Promise<Uint8Array>;
  zeroPoints?(first: number, count: number): Promise<Uint8Array>;
}

export interface RoundedShape {
  readonly rows: number;
  readonly columns: number;
  readonly bits: 4 | 8;
  readonly block: number;
}

export interface SessionOptions {
  /** Threads that one operator may use. */
  readonly threads?: number | undefined;
  /** Runs on the processor, whatever the runtime's device is. */
  readonly onHost?: boolean;
  /** Outputs, by name, that stay on the device, where it has memory apart. */
  readonly keep?: readonly string[];
  /** The whole model is this one session: it may keep the memory of a pass for the next one. */
  readonly isWhole?: boolean;
}

export interface TensorSession {
  run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>>;
  dispose(): Promise<void>;
}

/** Runs ONNX models: onnxruntime-node or onnxruntime-web. */
export interface TensorRuntime {
  /** Where sessions run. Default: the processor. */
  readonly device?: Device;
  /** Whether outputs can stay on the device (SessionOptions.keep). Default: false. */
  readonly keepsOutputs?: boolean;
  /**
   * Whether the device has all operators of a model; what it has not would be left to the processor.
   * @throws TacetError bad_argument if there is no such device
   */
  runsOnDevice?(model: OnnxModel): Promise<boolean>;
  createSession(model: OnnxModel, options?: SessionOptions): Promise<TensorSession>;
  /** Resolves when this thread has taken in what has arrived by now. Absent where nothing gives such a turn. */
  afterEvents?(): Promise<void>;
  /** Bytes of memory that this process could still take, undefined where nobody knows. */
  availableMemory?(): Promise<number | undefined>;
  /**
   * Present where rounded weights lie in memory of their own, once and as they are stored: bytes that are there for them,
   * undefined where nobody knows. What availableMemory says is then for all else.
   */
  roundedMemory?(): Promise<number | undefined>;
}

/** Names one kept key, all in hex. */
export interface KeptKeyName {
  /** Hash of the provider, the adapter and the account. */
  readonly account: string;
  /** SHA-256 of the bundle. */
  readonly bundle: string;
  /** The key's id. */
  readonly id: string;
}

export interface SocketOptions {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  /** Longest time awake for an answer, in microseconds, where the platform can poll; 0: never. */
  readonly pollMicros?: number | undefined;
}

/** SHA-256 of byte strings one after another. */
export type Sha256 = (parts: readonly Uint8Array[]) => Uint8Array;

/** Ed25519 (RFC 8032): the 64 bytes of a message's signature. @param signingKey the private key's 32 bytes */
export type SignEd25519 = (message: Uint8Array, signingKey: Uint8Array) => Uint8Array;

/** Ed25519: the 32 bytes of the public key that goes with a private one. */
export type PublicKeyEd25519 = (signingKey: Uint8Array) => Uint8Array;

/** Another thread of this process. */
export interface Thread {
  /** Memory in `transfer` moves there. */
  post(message: unknown, transfer: readonly ArrayBuffer[]): void;
  onMessage: (message: unknown) => void;
  /**
   * Called once, if it has ended by itself or could not be started, not before the call that started it has returned.
   * The reason says nothing of what it worked on.
   */
  onEnd: (reason: string) => void;
  /** Ends it; onEnd is not called after that. */
  end(): void;
}

/** Threads that encrypt queries (client/encryption). While one has nothing to do, it does not keep the process alive. */
export interface EncryptionPlatform {
  /** How many threads can run at a time. */
  readonly cores: number;
  start(): Thread;
}

export interface Platform {
  readonly tensors: TensorRuntime;
  /** Absent: queries are encrypted in the client's thread. */
  readonly encryption?: EncryptionPlatform | undefined;
  /**
   * SHA-256 of byte strings one after another, where the platform has a faster one than JavaScript. It may do it beside
   * this thread: what is hashed must not change meanwhile.
   */
  readonly sha256?: (parts: readonly Uint8Array[]) => Uint8Array | Promise<Uint8Array>;
  /** Where quantized weights are kept between sessions. */
  readonly weightCache?: FileCache;
  /** Opens a client socket. Throws TacetError connection_failed, also when it takes longer than `timeoutMs`. */
  connect(url: string, options?: SocketOptions): Promise<MessageSocket>;
}

/**
 * An append-only file of records. What append has returned for survives the end of this process (kill -9 as well);
 * what flushed has resolved for survives a loss of power.
 */
export interface Journal {
  /** Bytes of the file. */
  readonly size: number;
  /** Throws TacetError io_failed if the record is not in the file; then it never will be. */
  append(record: Uint8Array): void;
  /** One flush serves everything that waits for it. */
  flushed(): Promise<void>;
  /** Puts these records in the place of all others, whole or not at all. */
  rewrite(records: Iterable<Uint8Array>): void;
  close(): void;
}

/** A string is sent as UTF-8. */
export type RedisArgument = string | Uint8Array;

/**
 * A Redis server, over a connection that comes back by itself. Commands of one turn travel together. Replies are as
 * in RESP2: strings, integers, null, arrays of them.
 */
export interface RedisLink {
  /** Whether commands can be sent now. */
  readonly isReady: boolean;
  /** Called when the connection is back, and for each message on a subscribed channel. */
  onNews: () => void;
  /**
   * @throws TacetError unavailable if the server can't be reached, refuses, or does not reply in time; then it is not
   *   known whether the command ran
   */
  send(command: readonly RedisArgument[]): Promise<unknown>;
  /** Runs a Lua script, in one round trip where the server knows it. Throws as send does. */
  run(script: string, keys: readonly RedisArgument[], args: readonly RedisArgument[]): Promise<unknown>;
  subscribe(channel: string): Promise<void>;
  close(): void;
}
