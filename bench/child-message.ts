// Processes that a bench asks something.
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

/**
 * Has `send` ask the child, and gives the message that comes next.
 *
 * @param what it was to do, for the error
 * @throws Error if the process ends before
 */
export async function nextMessage(child: ChildProcess, what: string, send: () => void): Promise<unknown> {
  const stopped = new AbortController();
  const ended = once(child, "exit", { signal: stopped.signal }).then(([code, signal]) => {
    throw new Error(`the process ended with ${code ?? signal} when it was asked to ${what}`);
  });
  ended.catch(() => {});
  const answered = once(child, "message", { signal: stopped.signal });
  answered.catch(() => {});
  try {
    send();
    const [message] = await Promise.race([answered, ended]);
    return message;
  } finally {
    stopped.abort();
  }
}
