/** Failures as `error:` and `hint:` lines and an exit code. */
import { CommanderError } from "commander";
import { ERROR_KINDS, TacetError } from "../../base/errors.ts";
import { oneLine, paint } from "./terminal.ts";

const INTERNAL_EXIT = ERROR_KINDS.internal.exit;
const USAGE_EXIT = ERROR_KINDS.bad_argument.exit;

/** What a failure is to the user, without data. Undefined: nothing to say. */
export interface FailureText {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

export function describeFailure(error: unknown): FailureText {
  if (error instanceof TacetError) {
    const { code, message, hint } = error;
    return { code, message: oneLine(message), ...(hint === undefined ? {} : { hint: oneLine(hint) }) };
  }
  const missing = missingPackage(error);
  if (missing !== undefined) {
    return { code: "io_failed", message: `the package ${missing} is not installed`, hint: INSTALL_HINT };
  }
  // The message of an error that nobody expected may quote data: its name and its place say enough.
  return {
    code: "internal",
    message: `unexpected ${error instanceof Error ? error.name : "failure"}${placeOf(error)}`,
    hint: "this is a fault of tacet: please report it with this line and the command",
  };
}

/**
 * The name of an optional dependency that npm has left out: on --omit=optional, and where its install script failed, as
 * onnxruntime-node's does on a closed network.
 */
function missingPackage(error: unknown): string | undefined {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (code !== "ERR_MODULE_NOT_FOUND") return undefined;
  const name = /^Cannot find package '([^']+)'/.exec(String(message))?.[1];
  return name !== undefined && /^(@[\w.-]+\/)?[\w.-]+$/.test(name) ? name : undefined;
}

const INSTALL_HINT = "install tacet again with npm's --ignore-scripts and without --omit=optional";

/** Prints the failure; returns the exit code. */
export function reportFailure(error: unknown, helpCommand: string): number {
  if (error instanceof CommanderError) return reportUsage(error, helpCommand);
  const { message, hint } = describeFailure(error);
  printFailure(message, hint);
  if (missingPackage(error) !== undefined) return ERROR_KINDS.io_failed.exit;
  return error instanceof TacetError ? error.kind.exit : INTERNAL_EXIT;
}

function reportUsage(error: CommanderError, helpCommand: string): number {
  // Help and version that were asked for.
  if (error.exitCode === 0) return 0;
  if (error.code !== "commander.help") {
    const [message, suggestion] = error.message.replace(/^error: /, "").split("\n");
    const meant = /^\(Did you mean (.*)\?\)$/.exec(suggestion ?? "")?.[1];
    const see = `see '${helpCommand} --help'`;
    printFailure(message.replace(/\.$/, ""), meant === undefined ? see : `did you mean ${meant}? ${see}`);
  }
  return USAGE_EXIT;
}

function printFailure(message: string, hint: string | undefined): void {
  process.stderr.write(`${paint("error:", "red", process.stderr)} ${oneLine(message)}\n`);
  if (hint !== undefined)
    process.stderr.write(`${paint("hint:", "cyan", process.stderr)} ${oneLine(hint)}\n`);
}

/** " at client/client.js:47": the first place in our code. */
function placeOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  const place = /\/(?:dist|src)\/((?:[\w-]+\/)*[\w-]+\.[jt]s):(\d+)/.exec(
    stack.slice(stack.indexOf("\n    at ") + 1),
  );
  return place === null ? "" : ` at ${place[1]}:${place[2]}`;
}
