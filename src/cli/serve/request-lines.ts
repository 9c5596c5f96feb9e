/** The endpoint's log: a line of JSON for each request, without anything that was asked or answered. */
import { type Logger, pino } from "pino";
import type { RequestEntry } from "../../openai/endpoint.ts";
import type { EndpointLogLevel } from "./log-level.ts";

/** Onto stderr; `destination` for tests. */
export function endpointLog(level: EndpointLogLevel, destination?: { write(line: string): void }): Logger {
  return pino({ level, base: { pid: process.pid } }, destination ?? pino.destination({ fd: 2, sync: true }));
}

export function logRequest(log: Logger, entry: RequestEntry): void {
  log[levelOf(entry)]({ type: "request", ...entry }, `${entry.method} ${entry.path} ${entry.status}`);
}

/** What programs ask every few seconds is for debugging; what went wrong is a warning, at the endpoint an error. */
function levelOf({ path, status, error }: RequestEntry): "debug" | "info" | "warn" | "error" {
  // A client that goes away is told nothing, whatever the status would have been.
  if (error === "broken_off") return "info";
  if (status >= 500) return "error";
  if (status >= 400) return "warn";
  if (error !== undefined) return "error";
  return path.startsWith("/health") ? "debug" : "info";
}
