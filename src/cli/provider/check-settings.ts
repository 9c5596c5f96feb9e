/** What the settings of a provider must have in common, and what its user should know of them. */
import { TacetError } from "../../base/errors.ts";
import type { AdapterFigures } from "../../library/node-data-folder.ts";
import { keyAllows } from "../../provider/api-keys.ts";
import type { Provider } from "../../provider/provider.ts";
import type { KeyRecord } from "../../provider/store.ts";
import { redisUrlOf } from "../keys/key-book.ts";
import { exposureOf } from "../shared/exposure.ts";
import { isLoopback } from "../shared/loopback.ts";
import { warn } from "../shared/terminal.ts";
import type { ProviderSettings } from "./settings.ts";

/** Whether clients must bring something that a page of another origin does not have. */
export function hasKeys(settings: ProviderSettings): boolean {
  return (
    settings.data !== undefined || settings.tokenFile !== undefined || redisUrlOf(settings) !== undefined
  );
}

/** @throws TacetError bad_argument for settings that do not go together, or a choice that was not made */
export function checkTogether(settings: ProviderSettings): void {
  const { host, data, durability, tokenFile, unmetered, tlsCert, tlsKey } = settings;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new TacetError("bad_argument", "--tls-cert and --tls-key go together");
  }
  if (hasKeys(settings) && (settings.allowOrigin ?? settings.hostName) !== undefined) {
    throw new TacetError("bad_argument", "--allow-origin and --host-name are for a provider without keys", {
      hint: "with keys pages of any origin may connect, and must bring one",
    });
  }
  if (redisUrlOf(settings) !== undefined) {
    if (durability !== undefined) {
      throw new TacetError("bad_argument", "--durability is for --data", {
        hint: "with --redis the server decides: appendfsync in redis.conf (docs/deploy.md)",
      });
    }
    const others = {
      "--data": data !== undefined,
      "--unmetered": unmetered,
      "--token-file": tokenFile !== undefined,
    };
    const other = Object.entries(others).find(([, isGiven]) => isGiven)?.[0];
    if (other === undefined) return;
    throw new TacetError("bad_argument", `--redis and ${other} exclude each other`);
  }
  if (data !== undefined) {
    if (tokenFile === undefined && !unmetered) return;
    const option = unmetered ? "--unmetered" : "--token-file";
    throw new TacetError("bad_argument", `--data and ${option} exclude each other`, {
      hint: "with --data clients use the keys of 'tacet keys create'",
    });
  }
  if (durability !== undefined) throw new TacetError("bad_argument", "--durability needs --data");
  if (unmetered || isLoopback(host)) return;
  throw new TacetError("bad_argument", `serving on ${host} needs --data, or --unmetered if that is meant`, {
    hint: "without a count of their queries all clients can learn the adapted function: see 'tacet keys --help'",
  });
}

/**
 * @throws TacetError bad_argument if a connection's share of the memory does not hold a message and its answer, or a part
 *   of a key and its frame
 */
export function checkWaiting(
  { maxWaitingBytes }: ProviderSettings,
  { limits, keyPartBytes }: Provider,
): void {
  const needed = 4 * Math.max(limits.maxMessageBytes, keyPartBytes);
  if (maxWaitingBytes >= needed) return;
  const what = keyPartBytes > limits.maxMessageBytes ? "part of a key" : "message";
  const least = `${needed}, four times the largest ${what}`;
  throw new TacetError("bad_argument", `--max-waiting-bytes must be at least ${least}`, {
    hint: "half of it is one connection's share, which a message and its answer must fit in (--max-message-bytes, --max-vectors)",
  });
}

export function warnOfExposure(settings: ProviderSettings): void {
  const { host, tokenFile, tlsCert, unmetered } = settings;
  const isMetered = settings.data !== undefined || redisUrlOf(settings) !== undefined;
  const local = isLoopback(host);
  // On loopback too: a proxy in front lets others in. --unmetered there says that it is meant.
  if (!isMetered && !(local && unmetered)) {
    const everybody = local ? "everybody on this machine or behind a proxy" : `anybody who reaches ${host}`;
    const who = tokenFile === undefined ? everybody : "whoever has a token";
    warn(
      `nobody is counted: ${who} can query the adapters without limit, and so learn their functions; give --data ` +
        `and keys${local ? ", or --unmetered if that is meant" : ""}`,
    );
  }
  if (local || tlsCert !== undefined) return;
  warn(
    "tokens and adapter names travel in clear: give --tls-cert and --tls-key, or put a proxy with TLS in front",
  );
}

/** Keys named in a warning; the rest are counted. */
const MOST_NAMED = 5;

/** Says which keys can learn an adapter's function, and how. */
export function warnOfBudgets(records: readonly KeyRecord[], adapters: readonly AdapterFigures[]): void {
  const now = Date.now();
  for (const figures of adapters) {
    const { adapter } = figures;
    /** What is to say → ids of the keys that it is true of. */
    const keysOf = new Map<string, string[]>();
    for (const record of records) {
      if (!keyAllows(record, adapter, now)) continue;
      const { text, givesAway } = exposureOf(record, figures, now);
      if (givesAway) keysOf.set(text, [...(keysOf.get(text) ?? []), record.id]);
    }
    for (const [text, ids] of keysOf) {
      const more = ids.length > MOST_NAMED ? ` and ${ids.length - MOST_NAMED} more` : "";
      warn(`${adapter}: ${text} (${ids.slice(0, MOST_NAMED).join(", ")}${more})`);
    }
  }
}
