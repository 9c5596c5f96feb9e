/**
 * The rules of keys, tried: the same key once more, from elsewhere, by somebody else, and after it is worn out.
 *
 * Fresh errors on a repeated request could be averaged away, and S would follow by linear algebra; a count that began again
 * would let a key be asked for more than it withstands. So the same key must be the same bytes wherever it is asked for, or
 * be refused, and vectors count once for all places.
 *
 * Source: docs/security.md, rule 2.
 */
import { equalBytes } from "../../base/bytes.ts";
import type { Attack, AttackContext, AttackResult } from "../attack.ts";
import { entriesPerQuery, readSecret, refusalOf } from "../key-queries.ts";
import type { Oracle } from "../oracle.ts";
import { percent } from "../../base/show-number.ts";
import type { StolenKey } from "../stolen-key.ts";

const PLACES = [
  ["sameAccount", "over another connection"],
  ["replica", "at another replica"],
] as const;
/** Vectors that read S, to compare versions. */
const COMPARED = 16;

async function run(context: AttackContext): Promise<AttackResult[]> {
  const { open, view, situations } = context;
  const { vectorsPerKey, secretBits } = view.parameters;
  const first = await open();
  const key = await first.fetchKey();
  const facts: Record<string, number> = {};
  const said: string[] = [];
  const note = (name: string, good: boolean, text: string): void => {
    facts[name] = good ? 1 : 0;
    said.push(good ? text : `NOT ${text}`);
  };

  const again = await sameKey(first, key);
  note("again", again === "same", "the same bytes again");
  for (const [where, name] of PLACES) {
    const other = await situations[where]?.(first);
    if (other) note(where, (await sameKey(other, key)) !== "other", `the same or refused ${name}`);
  }
  const stranger = await open();
  note("otherAccount", (await sameKey(stranger, key)) === "refused", "refused to another account");
  const byStranger = await refusalOf(() => stranger.askSecret({ ...key }, 1, () => {}));
  note("otherAccountQuery", byStranger === "unknown_key", "no answer under it to another account");

  // Half of the key here, half elsewhere, and then one more at each.
  const elsewhere = (await situations.replica?.(first)) ?? (await situations.sameAccount?.(first)) ?? first;
  const half = Math.floor(vectorsPerKey / 2);
  const counted = await first.fetchKey();
  await first.askSecret(counted, half, (t, words) => void (words[t] = 2 ** 31 + t * 2 ** 8));
  const rest = vectorsPerKey - half;
  const refused = await refusalOf(() => askShifted(elsewhere, counted, rest));
  if (refused !== undefined) await askShifted(first, counted, rest);
  const worn = [
    await refusalOf(() => askOne(first, counted)),
    await refusalOf(() => askOne(elsewhere, counted)),
  ];
  note(
    "worn",
    worn.every((code) => code === "worn_key" || code === "unknown_key"),
    `refused after ${vectorsPerKey} vectors, wherever they were asked`,
  );

  const restarted = await situations.restarted?.(first);
  if (restarted) {
    note("restarted", (await sameKey(restarted, key)) !== "other", "the same or refused after a restart");
    const code = await refusalOf(() => askOne(restarted, counted));
    note("wornAfterRestart", code === "worn_key" || code === "unknown_key", "still worn out after it");
  }
  const version = await situations.otherVersion?.();
  if (version) {
    const [share, mixed] = await compareVersions(await open(), version);
    facts.versionEqual = share;
    note("versionRefused", mixed, "unknown to a new version of the adapter");
    said.push(
      `a new version's S is equal in ${percent(share)} of entries, by chance ${percent(2 ** -secretBits)}`,
    );
  }
  return [{ attack: "keys", variant: "a key asked again", points: [], facts, finding: said.join("; ") }];
}

/** What comes when a key is asked for by its id. */
async function sameKey(oracle: Oracle, key: StolenKey): Promise<"same" | "other" | "refused"> {
  let found: StolenKey | undefined;
  const code = await refusalOf(async () => (found = await oracle.fetchKey(key.id)));
  if (code !== undefined || found === undefined) return "refused";
  const { weights, hint } = found.packed;
  return equalBytes(weights, key.packed.weights) && equalBytes(hint, key.packed.hint) ? "same" : "other";
}

/** Bytes that differ from all others here, so that none is a replay. */
const askOne = (oracle: Oracle, key: StolenKey) =>
  oracle.askSecret(key, 1, (_, words) => void (words[1] = 2 ** 30));

const askShifted = (oracle: Oracle, key: StolenKey, count: number) =>
  oracle.askSecret(key, count, (t, words) => void (words[t] = 2 ** 29 + t * 2 ** 8));

/** Share of entries of S that the first keys of two versions have alike, and whether one refuses the other's key. */
async function compareVersions(one: Oracle, two: Oracle): Promise<[number, boolean]> {
  const [a, b] = [await one.fetchKey(), await two.fetchKey()];
  const mixed = await refusalOf(() => two.askSecret({ ...a }, 1, () => {}));
  const places = Array.from({ length: COMPARED * entriesPerQuery(one.view.parameters) }, (_, j) => j);
  const [left, right] = [await readSecret(one, a, places), await readSecret(two, b, places)];
  const equal = left.filter((value, i) => value === right[i]).length;
  return [equal / left.length, mixed === "unknown_key"];
}

export const keyAgain: Attack = {
  name: "keys",
  title: "the same key again, elsewhere, worn out",
  source: "docs/security.md, rule 2",
  run,
};
