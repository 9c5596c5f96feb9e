/**
 * A name stands for one thing: no two files of src/ export separate declarations under the same name. Whoever meets a
 * name in a stack trace, an import or a search finds what it means in one place.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const SRC = fileURLToPath(new URL("../src", import.meta.url));

/** Names that are declared twice on purpose, with the reason. */
const TWICE: Record<string, string> = {
  connect: "the same call of the library for Node and for pages; a program can import only one of them",
  connectSocket: "the same member of Platform for Node and for pages",
};

const DECLARED =
  /^export (?:default )?(?:declare )?(?:abstract )?(?:async )?(?:interface|type|class|function\*?|const|let|enum) (\w+)/gm;

/** Name → files that declare and export it. Overloads of a function are one declaration. */
function declarations(sources: ReadonlyMap<string, string>): Map<string, string[]> {
  const files = new Map<string, string[]>();
  for (const [file, source] of sources) {
    for (const name of new Set([...source.matchAll(DECLARED)].map((match) => match[1])))
      files.set(name, [...(files.get(name) ?? []), file]);
  }
  return files;
}

const twins = (sources: ReadonlyMap<string, string>) =>
  [...declarations(sources)].filter(([, files]) => files.length > 1);

/** The generated messages keep the names of the protocol. Only src/wire imports them. */
const GENERATED = "wire/generated/";

const SOURCES = new Map(
  readdirSync(SRC, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts") && !path.startsWith(GENERATED))
    .map((path) => [path, readFileSync(join(SRC, path), "utf8")]),
);

describe("exported names", () => {
  it("are declared once", () => {
    expect(declarations(SOURCES).size).toBeGreaterThan(1000);
    const unexpected = twins(SOURCES).filter(([name]) => !Object.hasOwn(TWICE, name));
    expect(unexpected.map(([name, files]) => `${name}: ${files.join(", ")}`)).toEqual([]);
  });

  it("are on the list of exceptions only where they need it", () => {
    const found = twins(SOURCES).map(([name]) => name);
    expect(Object.keys(TWICE).filter((name) => !found.includes(name))).toEqual([]);
  });

  it("would be seen: planted twins of each kind", () => {
    const kinds = [
      "interface Twin {}",
      "type Twin = 1;",
      "abstract class Twin {}",
      "async function* Twin() {}",
      "const Twin = 1;",
    ];
    const planted = new Map(kinds.map((kind, i) => [`${i}.ts`, `export ${kind}\n`]));
    planted.set("again.ts", 'export { Twin } from "./0.ts";\n');
    expect(twins(planted)).toEqual([["Twin", ["0.ts", "1.ts", "2.ts", "3.ts", "4.ts"]]]);
  });
});
