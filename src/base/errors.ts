/**
 * The one table of failures: code → what kind it is, and how each edge reports it.
 *
 * A {@link TacetError} is a failure that a user or a peer can cause. Programmer errors are `TypeError` or
 * `RangeError`. No message may contain prompts, activations, keys or weights.
 */
export interface ErrorKind {
  /** Number on the wire (docs/protocol.md §Errors). Never reused. */
  readonly wire: number;
  /** WebSocket close code; undefined: the connection goes on. */
  readonly close?: number;
  /** Exit code of the command line. */
  readonly exit: number;
}

export const ERROR_KINDS = {
  // files and configuration: exit 2
  bad_checkpoint: { wire: 0, exit: 2 },
  unsupported_model: { wire: 0, exit: 2 },
  bad_adapter: { wire: 0, exit: 2 },
  unsupported_adapter: { wire: 0, exit: 2 },
  bad_bundle: { wire: 0, exit: 2 },
  /** What came as a key is not signed by the provider whose bundle this is, or is not one. */
  bad_key: { wire: 0, exit: 2 },
  bad_state: { wire: 0, exit: 2 },
  bad_tokenizer: { wire: 0, exit: 2 },
  bad_argument: { wire: 0, exit: 2 },
  /** Prompt and answer need more tokens than the model's context has. */
  context_overflow: { wire: 0, exit: 2 },
  io_failed: { wire: 0, exit: 3 },
  out_of_memory: { wire: 0, exit: 3 },
  // the protocol: exit 4
  bad_frame: { wire: 1, close: 1002, exit: 4 },
  unsupported_version: { wire: 2, close: 1002, exit: 4 },
  not_ready: { wire: 3, close: 1002, exit: 4 },
  unknown_adapter: { wire: 4, exit: 4 },
  wrong_base_model: { wire: 5, exit: 4 },
  unknown_group: { wire: 6, exit: 4 },
  bad_query: { wire: 7, exit: 4 },
  too_large: { wire: 8, close: 1009, exit: 4 },
  too_many_requests: { wire: 9, exit: 4 },
  unauthorized: { wire: 10, close: 1008, exit: 4 },
  shutting_down: { wire: 11, close: 1001, exit: 4 },
  internal: { wire: 12, close: 1011, exit: 70 },
  bundle_changed: { wire: 13, exit: 4 },
  budget_exhausted: { wire: 14, exit: 4 },
  /** The provider can't reach what keeps its keys and budgets; asking again later may help. */
  unavailable: { wire: 15, close: 1013, exit: 4 },
  /** The key was never made for this account, or is of another time: the client takes another. */
  unknown_key: { wire: 16, exit: 4 },
  /** The key has answered as many vectors as it may: the client takes another. */
  worn_key: { wire: 17, exit: 4 },
  // the connection, seen from the client: exit 5
  connection_failed: { wire: 0, exit: 5 },
  connection_lost: { wire: 0, exit: 5 },
  timed_out: { wire: 0, exit: 5 },
  aborted: { wire: 0, exit: 130 },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERROR_KINDS;

/** A failure with a stable code, a sentence that says what was wrong and, where known, one that says what to do. */
export class TacetError extends Error {
  override readonly name = "TacetError";
  readonly code: ErrorCode;
  /** What the user can do about it. */
  readonly hint: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: { hint?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }

  get kind(): ErrorKind {
    return ERROR_KINDS[this.code];
  }
}

const CODE_OF_WIRE = new Map<number, ErrorCode>(
  (Object.entries(ERROR_KINDS) as [ErrorCode, ErrorKind][])
    .filter(([, kind]) => kind.wire !== 0)
    .map(([code, kind]) => [kind.wire, code]),
);

/** The code that a wire number stands for; an unknown number (a newer peer) reads as `internal`. */
export function errorCodeOfWire(wire: number): ErrorCode {
  return CODE_OF_WIRE.get(wire) ?? "internal";
}

/** Closes a switch over a union: a new member that is not handled fails to compile. */
export function assertNever(value: never): never {
  throw new TypeError(`unexpected value of type ${typeof value}`);
}
