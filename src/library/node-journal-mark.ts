/**
 * How a journal was left, in a file beside it (`usage.mark` of a data folder): keys may go on if nothing of what they
 * have answered is missing.
 *
 * - A run that ended has written what tells its journal from a copy, a backup or a cut-off one. The time of change is
 *   the system's: neither cp nor tar nor rsync puts it back, as they may the rest.
 * - A run that was killed has left the mark as it made it at its beginning, by whose time of change it is named in the
 *   journal: a folder that was put back has another. What a loss of power takes, the machine's new run tells.
 * - A run whose flush failed has left none: the system may have dropped what was appended, and says so once.
 *
 * Not seen: the journal alone, put back over itself after a kill; a disk that goes back under a machine that runs on.
 */
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { uptime } from "node:os";
import { TacetError } from "../base/errors.ts";
import { errnoOf } from "../platform/node.ts";

interface JournalPaths {
  readonly mark: string;
  readonly journal: string;
}

export class JournalMark {
  readonly #paths: JournalPaths;
  readonly #left: string | undefined;
  readonly #before: readonly string[];
  #isWithdrawn = false;
  /** Name of the run that begins. */
  readonly run: string;

  /** @throws TacetError io_failed */
  constructor(paths: JournalPaths) {
    this.#paths = paths;
    const { mark, journal } = paths;
    try {
      this.#left = existsSync(mark) ? readFileSync(mark, "latin1") : undefined;
      this.#before = [mark, journal].map((path) => (existsSync(path) ? fileMark(path) : ""));
      rmSync(mark, { force: true });
      writeFileSync(mark, RUNNING, { mode: 0o600, flag: "wx" });
      this.run = fileMark(mark);
    } catch (cause) {
      throw new TacetError("io_failed", `${mark} cannot be used (${errnoOf(cause)})`, { cause });
    }
  }

  /** Whether the journal is as that run has left it. */
  isUntouchedSince(run: string): boolean {
    const [mark, journal] = this.#before;
    return this.#left === RUNNING ? mark === run : this.#left === journal;
  }

  /** Some of the journal may be lost: whoever opens it next ends its keys, however this run ends. */
  withdraw(): void {
    this.#isWithdrawn = true;
    rmSync(this.#paths.mark, { force: true });
  }

  /** The journal is closed and on the disk. */
  end(): void {
    if (this.#isWithdrawn) return;
    const { mark, journal } = this.#paths;
    writeFileSync(mark, fileMark(journal));
  }
}

const RUNNING = "running";

function fileMark(path: string): string {
  const { dev, ino, size, ctimeNs } = statSync(path, { bigint: true });
  return [bootOf(), dev, ino, size, ctimeNs].join(" ");
}

/** What tells this run of the machine from others; where the system has no id of it, when it began, to the minute. */
function bootOf(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    return `began ${Math.round((Date.now() / 1000 - uptime()) / 60)}`;
  }
}
