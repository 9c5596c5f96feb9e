/** Where a model or adapter lies that a user names: a folder, or an id on the Hugging Face hub. */
import { basename, resolve } from "node:path";
import { downloadFromHub, findModel, isFolder, parseHubId } from "../../platform/node.ts";
import { Progress } from "./progress.ts";
import { warn } from "./terminal.ts";

/** Downloads under a progress bar what is not a folder. @throws TacetError as findModel and downloadFromHub */
export async function modelFolder(
  named: string,
  kind: "base" | "adapter",
  signal?: AbortSignal,
): Promise<string> {
  const found = findModel(named);
  if (typeof found === "string") return found;
  return await Progress.during(`fetching ${found.repo}`, (update) =>
    downloadFromHub(found, kind, {
      onProgress: (done, total) => update(total === 0 ? 1 : done / total),
      onWarning: warn,
      signal,
    }),
  );
}

/** What the last part of a path or an id says, without a revision. */
export function nameOf(named: string): string {
  return basename(resolve((!isFolder(named) && parseHubId(named)?.repo) || named));
}
