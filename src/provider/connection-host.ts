/** What a connection needs of its provider, and is given when it is let in. */
import type { MessageSocket } from "../base/platform.ts";
import type { WaitingShare } from "../base/waiting-share.ts";
import type { KeyAllowances } from "./allowance.ts";
import type { KeyLedger } from "./key-ledger.ts";
import type { KeyTools } from "./key-sender.ts";
import type { Meter } from "./meter.ts";
import type { QueryTools } from "./open-queries.ts";
import type { ServedAdapter } from "./served-adapter.ts";
import type { KeyRecord } from "./store.ts";

/** What a connection may ask, and what counts it. */
export interface Admission {
  readonly adapter: ServedAdapter;
  /** Undefined where there is no store, and so no budget. */
  readonly meter: Meter | undefined;
  /** The meter, or what counts for this connection alone. */
  readonly ledger: KeyLedger;
  /** Public name of the API key, where there is one. */
  readonly keyId: string | undefined;
}

/** What a connection needs of its provider. */
export interface ConnectionHost extends QueryTools {
  readonly keys: KeyTools;
  readonly helloTimeoutMs: number;
  readonly maxBufferedBytes: number;
  /** Of connections that were welcomed. */
  readonly allowances: KeyAllowances;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /**
   * The adapter that a Hello asks for, and what counts its queries. Tells `onKey` the key that the token belongs to, also
   * where it is refused then. Throws TacetError unauthorized, unknown_adapter.
   */
  admit(name: string, token: string, onKey: (key: KeyRecord) => void): Promise<Admission>;
  /** Counts what waits for a socket that counts nothing itself. */
  openShare(socket: MessageSocket): WaitingShare;
}
