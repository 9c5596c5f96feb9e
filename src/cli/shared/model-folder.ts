/** Where a model or adapter lies that a user names: a folder, or an id on the Hugging Face hub. */
import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { TacetError } from "../../base/errors.ts";
import { downloadFromHub, parseHubId } from "../../platform/node.ts";
import { Progress } from "./progress.ts";
import { warn } from "./terminal.ts";

/**
 * A folder that exists wins. So that a mistyped path is not sent to the hub, "org/name" is a path where a folder
 * "org" exists; "org/name@revision" is an id also there.
 *
 * @throws TacetError bad_argument, and what {@link downloadFromHub} throws
 */
export async function modelFolder(
  named: string,
  kind: "base" | "adapter",
  signal?: AbortSignal,
): Promise<string> {
  if (isFolder(named)) return named;
  const id = parseHubId(named);
  if (id === undefined) return named; // whoever opens it says that there is no such folder
  if (!named.includes("@") && isFolder(named.slice(0, named.indexOf("/")))) {
    throw new TacetError("bad_argument", `${named}: no such folder`, {
      hint: `if it is meant as an id on the hub, write ${named}@main`,
    });
  }
  return await Progress.during(`fetching ${id.repo}`, (update) =>
    downloadFromHub(id, kind, {
      onProgress: (done, total) => update(total === 0 ? 1 : done / total),
      onWarning: warn,
      ...(signal === undefined ? {} : { signal }),
    }),
  );
}

/** What the last part of a path or an id says, without a revision. */
export function nameOf(named: string): string {
  return basename(resolve((!isFolder(named) && parseHubId(named)?.repo) || named));
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
