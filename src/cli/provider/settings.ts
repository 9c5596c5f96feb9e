/**
 * The one table of `tacet provider`: every setting is a flag and a field of the config file. Flags, checks of the file
 * and defaults are made of it; docs/provider.md describes each of them, and a test compares (settings.test.ts).
 */
import { MIN_MESSAGE_BYTES } from "../../provider/limits.ts";
import { DEFAULT_LIMITS, MAX_MESSAGE_BYTES } from "../../wire/limits.ts";

export interface ProviderSettings {
  readonly state: readonly string[];
  readonly marks: boolean;
  readonly host: string;
  readonly port: number;
  readonly data?: string;
  readonly redis?: string;
  readonly redisPrefix?: string;
  readonly durability?: "process" | "power";
  readonly unmetered: boolean;
  readonly tokenFile?: string;
  readonly allowOrigin?: readonly string[];
  readonly hostName?: readonly string[];
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly trustProxy: boolean;
  readonly metricsPort?: number;
  readonly metricsHost: string;
  readonly logLevel: LogLevel;
  readonly graceSeconds: number;
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly maxConnectionsPerKey: number;
  readonly maxInFlight: number;
  readonly maxVectors?: number;
  readonly maxMessageBytes?: number;
  readonly maxBufferedBytes: number;
  readonly maxWaitingBytes: number;
  readonly receiveSeconds: number;
  readonly pollMicros?: number;
  readonly threads?: number;
}

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export type SettingKind =
  | { readonly kind: "integer"; readonly low: number; readonly high: number }
  | { readonly kind: "choice"; readonly values: readonly string[] }
  /** A switch: the flag has no value, the field is true or false. */
  | { readonly kind: "switch" }
  | { readonly kind: "text" }
  /** A file or folder; in a config file relative to that file's folder. */
  | { readonly kind: "path" }
  /** Several; the flag may be repeated. */
  | { readonly kind: "paths" }
  | { readonly kind: "texts" };

export type Setting = SettingKind & {
  /** Heading in --help. */
  readonly group: string;
  /** How the flag's value is shown: <dir>. */
  readonly shown?: string;
  readonly help: string;
  readonly default?: string | number | boolean;
  /** Its value may hold a password: it is not logged. */
  readonly secret?: boolean;
};

const SERVE = "What is served:";
const ACCESS = "Who may ask:";
const NETWORK = "Network:";
const OPERATION = "Operation:";
const LIMITS = "Limits:";

const integer = (low: number, high: number, value?: number) =>
  ({ kind: "integer", low, high, shown: "<n>", ...(value === undefined ? {} : { default: value }) }) as const;

export const SETTINGS = {
  state: {
    kind: "paths",
    group: SERVE,
    shown: "<dir>",
    help: "folder that 'tacet bundle' wrote; repeat for more adapters",
  },
  data: {
    kind: "path",
    group: ACCESS,
    shown: "<dir>",
    help: "keys and counts: 'tacet keys create --data DIR' lets clients in",
  },
  redis: {
    kind: "text",
    group: ACCESS,
    shown: "<url>",
    help: "instead of --data, for replicas: the Redis server that they share (default: TACET_REDIS_URL)",
    secret: true,
  },
  redisPrefix: {
    kind: "text",
    group: ACCESS,
    shown: "<text>",
    help: "begins all keys in the Redis database (default: tacet:)",
  },
  durability: {
    kind: "choice",
    values: ["process", "power"],
    group: ACCESS,
    shown: "<d>",
    help: "process: charges survive this process; power: also a loss of power (default: process)",
  },
  marks: {
    kind: "switch",
    group: SERVE,
    default: false,
    help: "give each account the adapter with small differences, by which 'tacet trace' knows a copy",
  },
  unmetered: {
    kind: "switch",
    group: ACCESS,
    default: false,
    help: "confirms that queries are deliberately not counted, without --data",
  },
  tokenFile: {
    kind: "path",
    group: ACCESS,
    shown: "<file>",
    help: "without --data: tokens that are let in, one a line",
  },
  allowOrigin: {
    kind: "texts",
    group: ACCESS,
    shown: "<origin>",
    help: "without keys: pages of this origin may ask too, https://app.example; repeat for more",
  },
  hostName: {
    kind: "texts",
    group: ACCESS,
    shown: "<name>",
    help: "without keys: clients reach this provider under this name; repeat for more",
  },
  host: {
    kind: "text",
    group: NETWORK,
    shown: "<address>",
    help: "address to listen on",
    default: "127.0.0.1",
  },
  port: { ...integer(0, 65_535, 8787), group: NETWORK, help: "port to listen on; 0: any free one" },
  tlsCert: {
    kind: "path",
    group: NETWORK,
    shown: "<file>",
    help: "certificate chain (PEM): serves wss://; read again when it changes",
  },
  tlsKey: { kind: "path", group: NETWORK, shown: "<file>", help: "its private key (PEM)" },
  trustProxy: {
    kind: "switch",
    group: NETWORK,
    default: false,
    help: "behind a proxy: a client's address is the last of X-Forwarded-For",
  },
  metricsPort: {
    ...integer(0, 65_535),
    group: OPERATION,
    help: "serve /metrics, /readyz and /healthz there; 0: any free port (default: not at all)",
  },
  metricsHost: {
    kind: "text",
    group: OPERATION,
    shown: "<address>",
    help: "address of --metrics-port",
    default: "127.0.0.1",
  },
  logLevel: {
    kind: "choice",
    values: LOG_LEVELS,
    group: OPERATION,
    shown: "<level>",
    help: `least severe that is logged: ${LOG_LEVELS.join(", ")}`,
    default: "info",
  },
  graceSeconds: {
    ...integer(0, 3_600, 20),
    group: OPERATION,
    help: "at SIGTERM: longest time that open queries are still answered",
  },
  pollMicros: {
    ...integer(0, 1_000_000),
    group: OPERATION,
    help: "longest time to stay awake for a message, in microseconds (default: 200 on up to two cores, else 2000)",
  },
  threads: {
    ...integer(0, 256),
    group: OPERATION,
    help: "threads for long queries, each with a copy of the adapters; 0: none (default: one for each core but one)",
  },
  maxConnections: { ...integer(1, 1_000_000, 20_000), group: LIMITS, help: "most connections" },
  maxConnectionsPerAddress: {
    ...integer(1, 1_000_000, 2_000),
    group: LIMITS,
    help: "most connections from one address",
  },
  maxConnectionsPerKey: {
    ...integer(1, 1_000_000, 2_000),
    group: LIMITS,
    help: "most connections of one key of --data",
  },
  maxInFlight: {
    ...integer(1, 10_000, DEFAULT_LIMITS.maxInFlight),
    group: LIMITS,
    help: "most open queries of one connection",
  },
  maxVectors: {
    ...integer(1, DEFAULT_LIMITS.maxVectors),
    group: LIMITS,
    help: `most vectors in a query (default: ${DEFAULT_LIMITS.maxVectors}, or what the largest message holds)`,
  },
  maxMessageBytes: {
    ...integer(MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES),
    group: LIMITS,
    help: "largest message that is read (default: what queries of so many vectors need)",
  },
  maxBufferedBytes: {
    ...integer(16 << 20, 1 << 30, 64 << 20),
    group: LIMITS,
    help: "most bytes that wait for a client that does not read",
  },
  maxWaitingBytes: {
    ...integer(4 << 20, 2 ** 36, 256 << 20),
    group: LIMITS,
    help: "most bytes that wait, in and out, of all connections; one connection, key or address may have half",
  },
  receiveSeconds: {
    ...integer(1, 3_600, 60),
    group: LIMITS,
    help: "longest time that one message may take to arrive",
  },
} as const satisfies Record<keyof ProviderSettings, Setting>;

export type SettingName = keyof typeof SETTINGS;

export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

/** "tokenFile" → "--token-file" */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** What holds where neither flag nor file says otherwise. */
export const DEFAULTS: Partial<ProviderSettings> = Object.fromEntries(
  Object.entries(SETTINGS as Record<string, Setting>)
    .filter(([, setting]) => setting.default !== undefined)
    .map(([name, setting]) => [name, setting.default]),
);

/** Settings as they are logged: without what may be secret. Paths are shown, what is in the files is not. */
export function shownSettings(settings: ProviderSettings): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => {
      const { secret = false } = (SETTINGS as Record<string, Setting>)[name];
      return [name, secret ? "(set)" : value];
    }),
  );
}
