import { describe, expect, it } from "vitest";
import type { RequestEntry } from "../../openai/endpoint.ts";
import type { EndpointLogLevel } from "./log-level.ts";
import { endpointLog, logRequest } from "./request-lines.ts";

const ENTRY: RequestEntry = {
  method: "POST",
  path: "/v1/completions",
  status: 200,
  milliseconds: 7,
  key: "key-1",
};

function lines(
  level: EndpointLogLevel,
  ...entries: Partial<RequestEntry>[]
): { level: number; msg: string }[] {
  const written: string[] = [];
  const log = endpointLog(level, { write: (line) => void written.push(line) });
  for (const entry of entries) logRequest(log, { ...ENTRY, ...entry });
  return written.map((line) => JSON.parse(line));
}

describe("the endpoint's log", () => {
  it("has one line of JSON for a request", () => {
    expect(lines("info", {})).toMatchObject([
      { type: "request", ...ENTRY, msg: "POST /v1/completions 200", pid: process.pid },
    ]);
  });

  it("knows how severe a request is", () => {
    const [debug, info, warn, error] = [20, 30, 40, 50];
    const of = (entry: Partial<RequestEntry>) => lines("debug", entry)[0].level;
    expect(of({ path: "/health" })).toBe(debug);
    expect(of({})).toBe(info);
    expect(of({ error: "broken_off" })).toBe(info);
    expect(of({ status: 503, error: "broken_off" })).toBe(info);
    expect(of({ status: 401, error: "invalid_api_key" })).toBe(warn);
    expect(of({ status: 503 })).toBe(error);
    expect(of({ error: "insufficient_quota" })).toBe(error);
    expect(lines("warn", {}, { status: 404 }, { path: "/health" })).toHaveLength(1);
    expect(lines("silent", {}, { status: 503 })).toEqual([]);
  });
});
