/** Failures in OpenAI's shape: what is wrong with a request, and what went wrong with an answer. */

import { type ErrorCode, TacetError } from "../base/errors.ts";

export interface ErrorBody {
  readonly message: string;
  readonly type: string;
  /** The field of the request that is wrong. */
  readonly param: string | null;
  readonly code: string | null;
}

/** A failure that a client is told: HTTP status, headers and OpenAI's error object. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly body: ErrorBody;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    { message, type = "invalid_request_error", param = null, code = null }: Partial<ErrorBody>,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.status = status;
    this.body = { message: message ?? "", type, param, code };
    this.headers = headers;
  }
}

/** A field that is not as it must be: 400. */
export function badField(param: string | null, message: string, code: string | null = null): ApiError {
  return new ApiError(400, { message, param, code });
}

interface Meaning {
  readonly status: number;
  readonly type?: string;
  readonly code: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** The official clients try 429 and 5xx again, unless this header says that it is of no use. */
const DO_NOT_RETRY = { "x-should-retry": "false" };
const PROVIDER_AWAY: Meaning = {
  status: 503,
  type: "api_error",
  code: "provider_unavailable",
  headers: { "retry-after": "5" },
};

/** What else the provider or the model fails with is 502: this endpoint is as it should be, what it asks is not. */
const MEANINGS: Partial<Record<ErrorCode, Meaning>> = {
  bad_argument: { status: 400, code: "invalid_value" },
  bad_tokenizer: { status: 400, code: "invalid_value" },
  context_overflow: { status: 400, code: "context_length_exceeded" },
  budget_exhausted: {
    status: 429,
    type: "insufficient_quota",
    code: "insufficient_quota",
    headers: DO_NOT_RETRY,
  },
  too_many_requests: {
    status: 429,
    type: "requests",
    code: "rate_limit_exceeded",
    headers: { "retry-after": "1" },
  },
  connection_failed: PROVIDER_AWAY,
  connection_lost: PROVIDER_AWAY,
  timed_out: PROVIDER_AWAY,
  shutting_down: PROVIDER_AWAY,
  aborted: { status: 503, type: "api_error", code: "aborted", headers: { "retry-after": "5" } },
  out_of_memory: { status: 500, type: "api_error", code: "out_of_memory", headers: DO_NOT_RETRY },
  bad_checkpoint: { status: 500, type: "api_error", code: "bad_checkpoint", headers: DO_NOT_RETRY },
};

/** What a client is told of a failure; of one that nobody expected nothing but that it happened. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (!(error instanceof TacetError)) {
    return new ApiError(500, {
      message: "the endpoint failed unexpectedly; its own output says where",
      type: "api_error",
      code: "internal",
    });
  }
  const meaning = MEANINGS[error.code] ?? {
    status: 502,
    type: "api_error",
    code: `provider_${error.code}`,
    headers: DO_NOT_RETRY,
  };
  const message = error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
  const { status, type, code, headers } = meaning;
  return new ApiError(status, { message, code, ...(type === undefined ? {} : { type }) }, headers);
}
