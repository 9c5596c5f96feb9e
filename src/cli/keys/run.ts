/** `tacet keys`: the API keys of a provider's data folder, or of the Redis database that its replicas share. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { TacetError } from "../../base/errors.ts";
import { grouped } from "../../base/show-number.ts";
import { decodeBundle } from "../../bundle/bundle.ts";
import { type AdapterFigures, readFigures } from "../../library/node-data-folder.ts";
import { errnoOf } from "../../platform/node.ts";
import { budgetsOf, createApiKey, keyAllows } from "../../provider/api-keys.ts";
import { AskedCounts } from "../../provider/asked-counts.ts";
import { BUNDLE_FILE } from "../../provider/served-adapter.ts";
import { adapterOf, type Grant, type KeyRecord } from "../../provider/store.ts";
import type { Usage } from "../../provider/usage-ledger.ts";
import { systemRandom } from "../../ring/random-source.ts";
import { exposureOf, figuresOf } from "../shared/exposure.ts";
import { oneLine, print, printJson, warn } from "../shared/terminal.ts";
import { type KeyBook, openKeyBook, type StoreOptions } from "./key-book.ts";

export interface CreateKeyOptions extends StoreOptions {
  readonly budget?: string;
  readonly state?: readonly string[];
  readonly adapter?: readonly string[];
  readonly account?: string;
  readonly rate?: number;
  readonly expires?: string;
  readonly label?: string;
  readonly json?: boolean;
}

export interface ListKeysOptions extends StoreOptions {
  readonly json?: boolean;
}

const UNIT_SECONDS: Record<string, number> = { minute: 60, hour: 3600, day: 86_400, week: 604_800 };
const SHORT_UNITS: Record<string, number> = { h: 3600, d: 86_400 };

export async function createKey(options: CreateKeyOptions): Promise<void> {
  if (options.budget === undefined) {
    throw new TacetError("bad_argument", "how much may the key ask? --budget is missing", {
      hint: "as in --budget 150 or --budget unlimited; see 'tacet keys create --help'",
    });
  }
  const budget = parseBudget(options.budget);
  const given = options.state && (await Promise.all(options.state.map(figuresOfState)));
  const now = Date.now();
  const { account, label, adapter } = options;
  const expiresAt = options.expires === undefined ? null : parseExpiry(options.expires, now);
  const { key, record } = createApiKey(
    {
      budget,
      expiresAt,
      vectorsPerSecond: options.rate ?? null,
      ...(account === undefined ? {} : { account: shortText("--account", account) }),
      ...(label === undefined ? {} : { label: shortText("--label", label) }),
      ...(adapter === undefined ? {} : { adapters: adapter.map((name) => shortText("--adapter", name)) }),
    },
    now,
    systemRandom,
  );
  const book = await openKeyBook(options);
  try {
    await book.add(record);
  } finally {
    book.close();
  }
  const figures = given ?? (options.data === undefined ? undefined : readFigures(options.data));
  const mine = (figures ?? []).filter((each) => keyAllows(record, each.adapter, now));
  const exposures = mine.map((each) => ({ ...each, ...exposureOf(record, each, now) }));
  if (options.json) printJson({ key, ...shown(record), exposure: exposures });
  else {
    print(key);
    process.stderr.write(`key ${record.id}: ${showBudget(budget)}; it is not shown again\n`);
  }
  for (const { adapter: name, text, givesAway } of exposures) {
    if (givesAway) warn(`${name}: ${text}`);
    else if (!options.json) process.stderr.write(`${oneLine(`${name}: ${text}`)}\n`);
  }
  if (exposures.length > 0) return;
  if (budget === null) {
    warn("unlimited: whoever has this key can learn the adapted function, and nothing will stop it");
  } else if (figures === undefined) {
    warn(
      "how much of an adapter this budget gives away is not known here: name its state folder with --state, or see " +
        "what 'tacet provider' says at its start",
    );
  } else {
    const names = figures.map(({ adapter: name }) => name).join(", ");
    warn(`the key is for none of the adapters that are known here: ${oneLine(names)}`);
  }
}

/** The public figures of a state folder's adapter; the private file is not read. */
async function figuresOfState(dir: string): Promise<AdapterFigures> {
  const bytes = await readFile(join(dir, BUNDLE_FILE)).catch((cause: unknown) => {
    throw new TacetError("bad_state", `${BUNDLE_FILE} of ${dir} cannot be read (${errnoOf(cause)})`, {
      hint: "give a folder that 'tacet bundle' wrote",
      cause,
    });
  });
  return figuresOf((await decodeBundle(bytes)).manifest);
}

export async function listKeys(options: ListKeysOptions): Promise<void> {
  const book = await openKeyBook(options);
  try {
    printKeys(await keyRows(book, Date.now()), options.json ?? false);
  } finally {
    book.close();
  }
}

type KeyRow = Awaited<ReturnType<typeof keyRows>>[number];

async function keyRows(book: KeyBook, now: number) {
  const records = await book.keys();
  const usage = await book.usage(
    records.map(({ account }) => account),
    now,
  );
  return records.map((record) => {
    const { account } = record;
    const slots = usage.filter((each) => each.account === account);
    const others = records.filter((each) => each.account === account && each !== record);
    const asked = Math.max(0, ...slots.map(({ total }) => total));
    return { ...shown(record), state: stateOf(record, now), asked, left: leftOf(record, others, slots, now) };
  });
}

/** Vectors that a key may ask of the group that has fewest; null: unlimited. Other keys of its account limit it too. */
function leftOf(
  record: KeyRecord,
  others: readonly KeyRecord[],
  slots: readonly Usage[],
  now: number,
): number | null {
  const own = record.budget === null ? [] : [record.budget];
  const nothing = new AskedCounts();
  // Of each adapter that another key names, as much as a group leaves that was not asked yet; then what was asked.
  const groups = [record, ...others]
    .flatMap(({ adapters }) => (adapters.length === 0 ? [""] : adapters))
    .map((adapter) => ({ adapter, counts: nothing }));
  const asked = slots.map(({ scope, counts }) => ({ adapter: adapterOf(scope), counts }));
  const left = [...groups, ...asked]
    .filter(({ adapter }) => record.adapters.length === 0 || record.adapters.includes(adapter))
    .map(({ adapter, counts }) => {
      const budgets = [...own, ...budgetsOf(others, adapter, now)];
      return counts.remaining(budgets, now)?.left ?? Number.POSITIVE_INFINITY;
    });
  const least = Math.min(...left);
  return Number.isFinite(least) ? least : null;
}

function printKeys(rows: readonly KeyRow[], json: boolean): void {
  if (json) {
    printJson({ keys: rows });
    return;
  }
  if (rows.length === 0) print("no keys");
  for (const {
    id,
    label,
    account,
    adapters,
    asked,
    left,
    state,
    expiresAt,
    vectorsPerSecond,
    budget,
  } of rows) {
    print(oneLine(`${id}  ${state}${label === "" ? "" : `  ${label}`}`));
    const of = budget === null ? "by another key of the account" : `of ${showBudget(budget)}`;
    const most = left === null ? "unlimited" : `${grouped(left)} left ${of}`;
    print(`  asked ${grouped(asked)} vectors a group, ${most}`);
    const more = [
      account === id ? "" : `account ${account}`,
      adapters.length === 0 ? "all adapters" : `adapters ${adapters.join(", ")}`,
      vectorsPerSecond === null ? "" : `${vectorsPerSecond} vectors a second`,
      expiresAt === null ? "" : `until ${expiresAt}`,
    ];
    print(oneLine(`  ${more.filter((text) => text !== "").join("; ")}`));
  }
}

export async function revokeKey(id: string, options: StoreOptions): Promise<void> {
  const book = await openKeyBook(options);
  try {
    if (!(await book.revoke(id, Date.now()))) {
      throw new TacetError("bad_argument", `there is no key ${JSON.stringify(id.slice(0, 64))}`, {
        hint: "'tacet keys list' shows the ids",
      });
    }
  } finally {
    book.close();
  }
  print(`revoked ${id}`);
}

/** "5000", "5000/day", "unlimited" → null. Throws TacetError bad_argument. */
export function parseBudget(text: string): Grant | null {
  if (text === "unlimited") return null;
  const match = /^(\d{1,14})(?:\/(minute|hour|day|week))?$/.exec(text);
  if (match !== null) {
    return { vectors: Number(match[1]), windowSeconds: match[2] === undefined ? 0 : UNIT_SECONDS[match[2]] };
  }
  throw new TacetError("bad_argument", "--budget must be a number of vectors, or 'unlimited'", {
    hint: "as in --budget 150, --budget 20/day; per minute, hour, day or week",
  });
}

/** "30d", "12h", or a date → milliseconds since 1970. Throws TacetError bad_argument. */
export function parseExpiry(text: string, nowMs: number): number {
  const match = /^(\d{1,6})([hd])$/.exec(text);
  const time = match ? nowMs + 1000 * Number(match[1]) * SHORT_UNITS[match[2]] : Date.parse(text);
  if (Number.isFinite(time) && time > nowMs && /^\d/.test(text)) return time;
  throw new TacetError("bad_argument", "--expires must be a time to come", {
    hint: "as in --expires 30d, --expires 12h or --expires 2027-01-31",
  });
}

export function showBudget(budget: Grant | null): string {
  if (budget === null) return "unlimited";
  const unit = Object.entries(UNIT_SECONDS).find(([, seconds]) => seconds === budget.windowSeconds)?.[0];
  if (budget.windowSeconds === 0) return `${grouped(budget.vectors)} vectors a group`;
  return `${grouped(budget.vectors)} vectors a group and ${unit ?? `${budget.windowSeconds} s`}`;
}

function stateOf({ revokedAt, expiresAt }: KeyRecord, now: number): "valid" | "revoked" | "expired" {
  if (revokedAt !== null) return "revoked";
  return expiresAt !== null && expiresAt <= now ? "expired" : "valid";
}

/** What is shown of a key: all but its hash. */
function shown({ hash: _hash, createdAt, expiresAt, revokedAt, ...rest }: KeyRecord) {
  const date = (time: number | null) => (time === null ? null : new Date(time).toISOString());
  return { ...rest, createdAt: date(createdAt), expiresAt: date(expiresAt), revokedAt: date(revokedAt) };
}

function shortText(option: string, text: string): string {
  if (text !== "" && text.length <= 256 && !/\p{Cc}/u.test(text)) return text;
  throw new TacetError("bad_argument", `${option} must be 1 to 256 characters without control characters`);
}
