/**
 * What documents and comments refer to exists: relative links with their anchors, files that are named, and sections
 * and rules of documents.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const git = (...args: string[]) => execFileSync("git", args, { cwd: ROOT, encoding: "utf8" });
const FILES = git("ls-files", "--cached", "--others", "--exclude-standard")
  .split("\n")
  .filter((path) => path !== "" && existsSync(join(ROOT, path)));
/** History speaks of files that are no more. */
const DOCUMENTS = FILES.filter(
  (path) => path.endsWith(".md") && path !== "CHANGELOG.md" && !path.startsWith("test/"),
);
const SOURCES = FILES.filter((path) =>
  /^(src|kernels|test|bench|tools|app|proto)\/.*\.(ts|mjs|proto)$/.test(path),
);

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

/** A heading's anchor, as GitHub makes it. */
const anchorOf = (heading: string) =>
  heading
    .replace(/[`*]/g, "")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-");

const headingsOf = (text: string) => [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => heading);

function brokenLinks(path: string, text: string): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link]) => {
    if (/^[a-z]+:/.test(link)) return [];
    const [file, anchor] = link.split("#");
    const target = file === "" ? path : posix.join(posix.dirname(path), file);
    if (!existsSync(join(ROOT, target))) return [`${path}: ${link}`];
    if (anchor === undefined || !target.endsWith(".md")) return [];
    return headingsOf(read(target)).some((heading) => anchorOf(heading) === anchor)
      ? []
      : [`${path}: ${link}`];
  });
}

/** Files of others that comments cite. */
const FOREIGN = ["sentencepiece_model.proto"];
/** Names of our own kinds of files; what users have or we write, such as config.json, is not ours. */
const NAMED = /(?<![\w./*<-])((?:[\w-]+\/)*[\w.-]+\.(?:ts|mjs|proto|asc))(?![\w/])/g;

/**
 * Files that a text names and nobody has: a path from the root, or the end of one.
 *
 * @param from a name without a folder is a file below it
 */
function missingFiles(text: string, from = ""): string[] {
  const names = [...text.matchAll(NAMED)].map(([, name]) => name);
  return names.filter((name) => {
    const top = name.includes("/") ? "" : from;
    const isIt = (file: string) => file === name || (file.startsWith(top) && file.endsWith(`/${name}`));
    return !FOREIGN.includes(name) && !FILES.some(isIt);
  });
}

const commentsOf = (source: string) =>
  [...source.matchAll(/\/\*[\s\S]*?\*\/|(?<![:"'`\w])\/\/ .*$/gm)].map(([comment]) => comment).join("\n");

/** A heading, or the words in bold that a paragraph or a row begins with. */
const hasTitle = (text: string, title: string): boolean =>
  [
    ...headingsOf(text),
    ...[...text.replace(/\s+/g, " ").matchAll(/\*\*([^*]+?)\.?\*\*/g)].map(([, bold]) => bold),
  ].some((heading) => heading.replace(/[`]/g, "").startsWith(title.replace(/[`]/g, "")));

/** A named section (§, or in italics) or rule of a document that is not there. */
function missingSections(text: string): string[] {
  const flat = text.replace(/\n\s*(?:\* )?\s*/g, " ");
  const sections = [...flat.matchAll(/(docs\/[\w-]+\.md) §([A-Z0-9][\w-]*(?: [a-z]+)?)/g)].filter(
    ([, path, title]) => {
      if (!existsSync(join(ROOT, path))) return true;
      const [first] = title.split(" ");
      return !headingsOf(read(path)).some(
        (heading) => heading.startsWith(title) || heading.startsWith(first),
      );
    },
  );
  const titles = [...flat.matchAll(/(docs\/[\w-]+\.md)\)?,? \(?((?:\*[A-Z][^*]+\*(?:, | and )?)+)/g)].flatMap(
    ([all, path, list]) =>
      [...list.matchAll(/\*([^*]+)\*/g)]
        .filter(([, title]) => !existsSync(join(ROOT, path)) || !hasTitle(read(path), title))
        .map(([, title]) => [`${all} (${title})`]),
  );
  const rules = [...flat.matchAll(/(docs\/[\w-]+\.md), rule (\d+)/g)].filter(
    ([, path, rule]) =>
      !existsSync(join(ROOT, path)) || !new RegExp(`^\\| ${rule} \\|`, "m").test(read(path)),
  );
  return [...sections, ...titles, ...rules].map(([all]) => all);
}

describe("what is referred to exists", () => {
  it("relative links of documents, with their anchors", () => {
    expect(DOCUMENTS.length).toBeGreaterThan(10);
    expect(DOCUMENTS.flatMap((path) => brokenLinks(path, read(path)))).toEqual([]);
  });

  it("files, sections and rules that documents name", () => {
    const missing = DOCUMENTS.flatMap((path) =>
      [...missingFiles(read(path)), ...missingSections(read(path))].map((name) => `${path}: ${name}`),
    );
    expect(missing).toEqual([]);
  });

  it("files, sections and rules that comments name", () => {
    const missing = SOURCES.flatMap((path) => {
      const comments = commentsOf(read(path));
      const documents = [...comments.matchAll(/(?<![\w/])docs\/[\w-]+\.(?:md|svg)/g)].map(([name]) => name);
      return [
        ...missingFiles(comments, `${path.split("/")[0]}/`),
        ...documents.filter((name) => !existsSync(join(ROOT, name))),
        ...missingSections(comments),
      ].map((name) => `${path}: ${name}`);
    });
    expect(missing).toEqual([]);
  });

  it("sees what is planted", () => {
    expect(
      brokenLinks("docs/x.md", "[a](../README.md) [b](nowhere.md) [c](../README.md#no-such)"),
    ).toHaveLength(2);
    expect(missingFiles("see `src/base/bytes.ts`, bytes.ts and ghost.ts")).toEqual(["ghost.ts"]);
    expect(missingFiles("see turns.ts and app/turns.ts", "src/")).toEqual(["turns.ts"]);
    expect(commentsOf("/** a */ const x = 1; // b\n")).toBe("/** a */\n// b");
    expect(missingSections("docs/security.md, rule 99; docs/protocol.md §Nowhere")).toHaveLength(2);
    expect(missingSections("[docs/models.md](docs/models.md), *A new\nfamily* and *No such*")).toHaveLength(
      1,
    );
  });
});
