/** What a user may mean by the name of a model: a folder, a GGUF file, or an id on the Hugging Face hub. */
import { statSync } from "node:fs";
import { TacetError } from "../../../base/errors.ts";
import { isGgufName } from "../../../weights/model-files.ts";
import { type HubId, parseHubId } from "../hub/names.ts";

/**
 * A folder that exists wins. So that a mistyped path is not sent to the hub, "org/name" is a path where a folder
 * "org" exists; "org/name@revision" is an id also there.
 *
 * @returns the path, or the id; the path also where there is nothing: whoever opens it says so
 * @throws TacetError bad_argument for a path that is mistyped
 */
export function findModel(named: string): string | HubId {
  // A file of that name; a repository's name may end so too, where its revision is given.
  if (isFolder(named) || isGgufName(named)) return named;
  const id = parseHubId(named);
  if (id === undefined) return named;
  if (!named.includes("@") && isFolder(named.slice(0, named.indexOf("/")))) {
    throw new TacetError("bad_argument", `${named}: no such folder`, {
      hint: `if it is meant as an id on the hub, write ${named}@main`,
    });
  }
  return id;
}

export function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
