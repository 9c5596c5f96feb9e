/** Who may ask: the local key, and pages of which origins. */

import { ApiError } from "./api-error.ts";

export interface AccessOptions {
  /**
   * The name of a key, undefined for a wrong one; takes as long for that. The name goes into logs, and what was read for
   * one name is not used for another. Default: no key is needed, and all who ask are one.
   */
  readonly authorize?: ((key: string) => string | undefined) | undefined;
  /** Origins whose pages may ask. Default: none. */
  readonly corsOrigins?: readonly string[];
}

/** @throws ApiError 403 for a page of another origin: browsers send its origin with every POST */
export function checkOrigin({ headers }: Request, { corsOrigins = [] }: AccessOptions): void {
  const origin = headers.get("origin");
  if (origin === null || corsOrigins.includes(origin)) return;
  throw new ApiError(403, {
    message: "pages of this origin may not ask here; --cors-origin allows one",
    code: "origin_not_allowed",
  });
}

/**
 * Who asks; "" where no key is needed.
 * @throws ApiError 401
 */
export function checkKey({ headers }: Request, { authorize }: AccessOptions): string {
  if (authorize === undefined) return "";
  const key = /^bearer (.+)$/i.exec(headers.get("authorization") ?? "")?.[1] ?? "";
  const name = authorize(key.trim());
  if (name !== undefined) return name;
  throw new ApiError(
    401,
    {
      message: key === "" ? "an API key is needed: Authorization: Bearer KEY" : "the API key is wrong",
      code: "invalid_api_key",
    },
    { "www-authenticate": "Bearer" },
  );
}

/** The answer to a browser that asks whether its page may ask. The origin has been checked. */
export function preflight({ headers }: Request): Response {
  const wanted = headers.get("access-control-request-headers") ?? "";
  return new Response(null, {
    status: 204,
    headers: {
      "access-control-allow-methods": "GET, POST",
      "access-control-max-age": "600",
      ...(/^[\w-]+( ?, ?[\w-]+)*$/.test(wanted) ? { "access-control-allow-headers": wanted } : {}),
      ...(headers.get("access-control-request-private-network") === "true"
        ? { "access-control-allow-private-network": "true" }
        : {}),
    },
  });
}

/** Lets the page that asked read the answer. */
export function allowOrigin(request: Request, response: Response, { corsOrigins = [] }: AccessOptions): void {
  const origin = request.headers.get("origin");
  if (corsOrigins.length > 0) response.headers.set("vary", "Origin");
  if (origin !== null && corsOrigins.includes(origin)) {
    response.headers.set("access-control-allow-origin", origin);
    response.headers.set("access-control-expose-headers", "retry-after, x-should-retry");
  }
}
