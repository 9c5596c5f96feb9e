/** `--adapter` of the endpoint: adapters that are here, each under a name. */
import { TacetError } from "../../base/errors.ts";
import { nameOf } from "../shared/model-folder.ts";
import { checkName } from "./model-specs.ts";

export interface LocalSpec {
  /** What requests call it. */
  readonly name: string;
  /** A folder in the PEFT layout, or a hub id. */
  readonly folder: string;
}

/** NAME=DIR; or DIR, whose last part is the name. For an option that may be given several times. @throws TacetError bad_argument */
export function collectAdapters(text: string, before: readonly LocalSpec[] = []): LocalSpec[] {
  const [, named, folder] = /^([^=/\\]*)=(.*)$/s.exec(text) ?? [undefined, undefined, text];
  if (folder === "")
    throw new TacetError("bad_argument", "--adapter must be DIR or NAME=DIR", {
      hint: "as in --adapter law=./law-adapter: a folder in the PEFT layout, or a hub id",
    });
  const spec = { name: checkName(named ?? nameOf(folder), "--adapter"), folder };
  if (before.some(({ name }) => name === spec.name))
    throw new TacetError("bad_argument", `--adapter has the name ${JSON.stringify(spec.name)} twice`, {
      hint: "give each its own: --adapter NAME=DIR",
    });
  return [...before, spec];
}
