/** A request's body: JSON of a bounded size. */
import { ByteCollector } from "../base/byte-collector.ts";
import { ApiError, badField } from "./api-error.ts";

/** @throws ApiError 413, 415, 400 */
export async function readJson(request: Request, mostBytes: number): Promise<unknown> {
  // Anything else a page of another origin may send without asking first (Fetch standard, "CORS-safelisted").
  if (!/^application\/json\s*(;|$)/i.test(request.headers.get("content-type") ?? "")) {
    throw new ApiError(415, { message: "the content-type must be application/json" });
  }
  const bytes = await readBytes(request, mostBytes);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    // Its message quotes the text.
    throw badField(null, "the body is not valid JSON");
  }
}

async function readBytes({ body, headers }: Request, mostBytes: number): Promise<Uint8Array> {
  const tooLarge = new ApiError(413, {
    message: `the body is larger than ${mostBytes} bytes`,
    code: "request_too_large",
  });
  if (Number(headers.get("content-length")) > mostBytes) throw tooLarge;
  const bytes = new ByteCollector(mostBytes);
  const reader = body?.getReader();
  for (;;) {
    const next = await reader?.read().catch(() => {
      throw badField(null, "the body ended early");
    });
    if (next === undefined || next.done) return bytes.take();
    // The rest is left unread, not cancelled: that could close the connection before the answer is on it.
    if (bytes.length + next.value.length > mostBytes) throw tooLarge;
    bytes.add(next.value);
  }
}
