/** `--model`: which adapters the endpoint serves, each under a name, as vLLM's --lora-modules has it. */
import { TacetError } from "../../base/errors.ts";
import { checkAdapterName } from "../../bundle/manifest.ts";
import { parseJsonRecord, quoteName } from "../../weights/json-file.ts";

export interface ModelSpec {
  /** What requests call it. Default: the adapter's name. */
  readonly name?: string | undefined;
  readonly provider: readonly string[];
  /** The provider's name of it. Default: its first adapter. */
  readonly adapter?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly bundleDigest?: string | undefined;
  readonly providerKey?: string | undefined;
}

const EXAMPLE = "as in --model law=wss://provider.example#law-v2";
const FIELDS = ["name", "provider", "adapter", "tokenFile", "bundleDigest", "providerKey"];

/**
 * NAME=URL, NAME=URL#ADAPTER, or a JSON object with the fields of {@link ModelSpec}. Where no adapter is named, it is
 * the one that the provider calls NAME: two names of one provider never mean the same adapter by accident.
 *
 * @throws TacetError bad_argument
 */
export function parseModelSpec(text: string): ModelSpec {
  return text.trimStart().startsWith("{") ? fromJson(text) : fromPair(text);
}

/** For an option that may be given several times. @throws TacetError bad_argument, also for a name twice */
export function collectModels(text: string, before: ModelSpec[] | undefined): ModelSpec[] {
  const spec = parseModelSpec(text);
  if (before?.some(({ name }) => name === spec.name))
    throw bad(`has the name ${quoteName(spec.name!)} twice`);
  return [...(before ?? []), spec];
}

function fromPair(text: string): ModelSpec {
  const [, name, target] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  if (name === undefined) throw bad("must be NAME=URL, NAME=URL#ADAPTER or a JSON object");
  checkName(name);
  const [url, fragment] = splitFragment(target);
  checkUrl(url);
  return { name, provider: [url], adapter: fragment === undefined ? name : checkName(fragment) };
}

function fromJson(text: string): ModelSpec {
  const fields = parseJsonRecord(text, "--model", "bad_argument");
  const strange = Object.keys(fields).find((field) => !FIELDS.includes(field));
  if (strange !== undefined) throw bad(`has the field ${quoteName(strange)}; it takes ${FIELDS.join(", ")}`);
  const { name, provider, ...rest } = fields;
  if (typeof name !== "string") throw bad("needs a name");
  const urls = typeof provider === "string" ? [provider] : provider;
  if (!Array.isArray(urls) || urls.length === 0)
    throw bad("needs a provider: a URL, or a list of its replicas");
  for (const url of urls) checkUrl(url);
  for (const [field, value] of Object.entries(rest)) {
    if (typeof value !== "string" || value === "") throw bad(`has a field ${field} that is no text`);
  }
  for (const field of ["bundleDigest", "providerKey"]) {
    const value = rest[field];
    if (typeof value === "string" && !/^[0-9a-f]{64}$/.test(value))
      throw bad(`needs 64 hex digits as ${field}`);
  }
  const texts = rest as Record<string, string>;
  return { ...texts, name: checkName(name), provider: urls, adapter: checkName(texts.adapter ?? name) };
}

function splitFragment(target: string): [url: string, fragment: string | undefined] {
  const at = target.indexOf("#");
  if (at < 0) return [target, undefined];
  try {
    return [target.slice(0, at), decodeURIComponent(target.slice(at + 1))];
  } catch {
    throw bad("has an adapter's name that cannot be read behind its #");
  }
}

function checkUrl(url: unknown): void {
  if (typeof url === "string" && URL.canParse(url) && !url.includes("#")) {
    const { protocol } = new URL(url);
    if (protocol === "ws:" || protocol === "wss:") return;
  }
  throw bad("needs the URL of a provider, ws:// or wss://");
}

/** @param option that has it @throws TacetError bad_argument */
export function checkName(name: string, option: "--model" | "--adapter" = "--model"): string {
  try {
    return checkAdapterName(name);
  } catch {
    throw bad("needs names of 1 to 128 printable characters", option);
  }
}

function bad(what: string, option: "--model" | "--adapter" = "--model"): TacetError {
  const hint = option === "--model" ? EXAMPLE : "as in --adapter law=./law-adapter";
  return new TacetError("bad_argument", `${option} ${what}`, { hint });
}
