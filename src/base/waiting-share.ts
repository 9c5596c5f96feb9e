/** What waits for one connection, as its part of the account of all (waiting-bytes.ts). */
import type { TacetError } from "./errors.ts";

/** What the account may do to a connection. */
export interface WaitingEnd {
  /** Reads nothing of it until resume. */
  pause(): void;
  resume(): void;
  /** Closes it and frees what it holds, now. */
  destroy(): void;
}

/** Shares whose bytes are added up: those of an address, or of a key. */
export interface ShareGroup {
  bytes: number;
  readonly members: Set<WaitingShare>;
}

/** What a share needs of the account. */
export interface ShareAccount {
  /** Bytes that one connection, key or address may have. */
  readonly share: number;
  /** Makes it one of its address's shares, or with a key one of the key's. */
  enter(share: WaitingShare, key?: string): void;
  leave(share: WaitingShare): void;
  /** Books a change of its bytes; whoever has too much then is cut off. */
  book(share: WaitingShare, change: number): void;
  /** Whether so much more fits, without anybody being cut off for it. */
  fits(share: WaitingShare, bytes: number): boolean;
  /** Reads a long message no further while too much waits. */
  pauseIfFull(share: WaitingShare): void;
  isPaused(share: WaitingShare): boolean;
}

/** Of a connection that has said nothing yet: a Hello has some 200 bytes and a token. */
const BEFORE_HELLO_BYTES = 10 << 10;
/** Of one that has said Hello, while its key is looked up: its first queries may come along. */
const BEFORE_WELCOME_BYTES = 128 << 10;
export class WaitingShare {
  readonly address: string;
  /** @internal */
  readonly end: WaitingEnd;
  /** @internal Those whose bytes its own count for: its address's and, once it is welcomed, its key's. */
  readonly groups: ShareGroup[] = [];
  /** Told why the connection is about to be cut off: says so to the client and closes. */
  onCut: (reason: TacetError) => void = () => {};
  readonly #account: ShareAccount;
  #key: string | undefined;
  #incoming = 0;
  #outgoing = 0;
  #working = 0;
  #limit = BEFORE_HELLO_BYTES;
  #closed = false;
  #isCut = false;
  /** Bytes received or taken by the client since the last look. */
  #moved = 0;
  #wasHolding = false;
  #wasPaused = false;
  #takenAt = 0;

  constructor(account: ShareAccount, address: string, end: WaitingEnd) {
    this.#account = account;
    this.address = address;
    this.end = end;
    account.enter(this);
  }

  get bytes(): number {
    return this.#incoming + this.#outgoing + this.#working;
  }

  get incoming(): number {
    return this.#incoming;
  }

  get key(): string | undefined {
    return this.#key;
  }

  /** Bytes that may wait for this connection. */
  get limit(): number {
    return this.#limit;
  }

  /** @internal */
  get isGreeted(): boolean {
    return this.#limit > BEFORE_HELLO_BYTES;
  }

  /** The connection has said Hello. */
  greet(): void {
    this.#limit = Math.max(this.#limit, Math.min(BEFORE_WELCOME_BYTES, this.#account.share));
  }

  /** From now on the connection has a whole share, and is one of its key's. */
  welcome(key?: string): void {
    this.#limit = this.#account.share;
    if (this.#closed || key === undefined || this.#key !== undefined) return;
    this.#account.enter(this, key);
    this.#key = key;
  }

  /** What the message that is not complete costs now; 0 between messages. */
  receiving(bytes: number): void {
    if (this.#closed) return;
    const change = bytes - this.#incoming;
    this.#incoming = bytes;
    if (change > 0) this.#moved += change;
    this.#account.book(this, change);
    if (!this.#closed) this.#account.pauseIfFull(this);
  }

  /** So much more was given to the network, which has not taken it yet. */
  sending(bytes: number): void {
    // A farewell is not counted: whoever gets it is on the way out.
    if (this.#closed || this.#isCut) return;
    if (this.#outgoing === 0) this.#takenAt = performance.now();
    this.#outgoing += bytes;
    this.#account.book(this, bytes);
  }

  /** The network has taken it. */
  taken(bytes: number): void {
    if (this.#closed) return;
    const counted = Math.min(bytes, this.#outgoing);
    this.#outgoing -= counted;
    this.#moved += counted;
    this.#takenAt = performance.now();
    this.#account.book(this, -counted);
  }

  /** Keeps memory for a query and its reply. False: there is no room, and nothing is kept. */
  hold(bytes: number): boolean {
    if (this.#closed || !this.#account.fits(this, bytes)) return false;
    this.#working += bytes;
    this.#account.book(this, bytes);
    return true;
  }

  /** Gives back what was held. */
  release(bytes: number): void {
    if (this.#closed) return;
    this.#working -= bytes;
    this.#account.book(this, -bytes);
  }

  /** The connection has gone, and what waited for it. */
  close(): void {
    if (this.#closed) return;
    const all = this.bytes;
    this.#incoming = this.#outgoing = this.#working = 0;
    this.#account.book(this, -all);
    this.#closed = true;
    this.#account.leave(this);
  }

  /** @internal */
  farewell(reason: TacetError): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.onCut(reason);
  }

  /**
   * @internal What waits for the client's end of the line, at which rate it moved since the last look (undefined: not
   * to be judged), and for how long it has taken nothing.
   */
  look(now: number): { held: number; rate: number | undefined; stalledMs: number } {
    const held = this.#incoming + this.#outgoing;
    const paused = this.#account.isPaused(this);
    const judged = held > 0 && this.#wasHolding && !this.#isCut && !paused && !this.#wasPaused;
    const rate = judged ? this.#moved : undefined;
    const stalledMs = this.#outgoing > 0 && !this.#isCut ? now - this.#takenAt : 0;
    this.#moved = 0;
    this.#wasHolding = held > 0;
    this.#wasPaused = paused;
    return { held, rate, stalledMs };
  }
}
