/** Server-sent events (WHATWG HTML §9.2): one `data:` line for each body, "[DONE]" behind the last. */

import { asApiError } from "./api-error.ts";

const encoder = new TextEncoder();
const eventOf = (data: string): Uint8Array => encoder.encode(`data: ${data}\n\n`);

/**
 * The bodies as they come. Nobody waits for the reader: what it has not read is kept, so that an answer, its place and
 * its context are free again however slowly somebody reads. A failure is a separate event, and then the end.
 *
 * @param cancel called when the reader goes away
 */
export function eventStream(bodies: AsyncIterable<object>, cancel: () => void): ReadableStream {
  let gone = false;
  return new ReadableStream({
    start(controller) {
      const send = (data: string): void => {
        if (!gone) controller.enqueue(eventOf(data));
      };
      void pump(bodies, send).then(() => {
        if (!gone) controller.close();
      });
    },
    cancel() {
      gone = true;
      cancel();
    },
  });
}

/** Never rejects. */
async function pump(bodies: AsyncIterable<object>, send: (data: string) => void): Promise<void> {
  try {
    for await (const body of bodies) send(JSON.stringify(body));
    send("[DONE]");
  } catch (error) {
    send(JSON.stringify({ error: asApiError(error).body }));
  }
}
