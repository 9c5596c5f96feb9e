// The licenses of packages that are built into our files, for Vite: its own list has no packages that only workers load.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const IN_PACKAGE = /^(.*\/node_modules\/(?:@[^/]+\/)?[^/]+)\//;
const LICENSE_FILE = /^(licen[sc]e|copying)/i;
/** The comment that a file begins with. */
const HEAD = /^\s*(?:(?:\/\/[^\n]*\n)+|\/\*[\s\S]*?\*\/)/;

/**
 * @param {string} fileName of the list, in the folder that is built
 * @returns a plugin that collects, for workers, and one that also writes the list
 */
export function licensePlugins(fileName) {
  /** Folder of a package → its modules that are built in. */
  const packages = new Map();
  const collect = (bundle) => {
    for (const chunk of Object.values(bundle)) {
      for (const id of chunk.moduleIds ?? []) {
        const file = id.replace(/^\0+/, "").replace(/\?.*$/, "");
        const folder = IN_PACKAGE.exec(file)?.[1];
        if (folder !== undefined) packages.set(folder, (packages.get(folder) ?? new Set()).add(file));
      }
    }
  };
  return {
    collecting: { name: "collect-licenses", generateBundle: (_, bundle) => collect(bundle) },
    writing: {
      name: "write-licenses",
      generateBundle(_, bundle) {
        collect(bundle);
        const entries = [...packages].map(([folder, files]) => entryOf(folder, files)).sort();
        const source = `# Licenses\n\nThese packages are built in.\n\n${entries.join("\n")}`;
        this.emitFile({ type: "asset", fileName, source });
      },
    },
  };
}

/** Throws for a package that nothing says the license of. */
function entryOf(folder, files) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const own = readdirSync(folder).filter((each) => LICENSE_FILE.test(each));
  const texts =
    own.length > 0 ? own.map((each) => readFileSync(join(folder, each), "utf8").trim()) : headsOf(files);
  if (license === undefined || texts.length === 0) throw new Error(`${name} has no license to be found`);
  return `## ${name} ${version} (${license})\n\n${texts.map((text) => `\`\`\`text\n${text}\n\`\`\`\n`).join("\n")}`;
}

/** Of a package without a file of its license: what its modules say of it themselves. */
function headsOf(files) {
  const heads = [...files]
    .filter((file) => /\.[cm]?js$/.test(file))
    .map((file) => HEAD.exec(readFileSync(file, "utf8"))?.[0].trim() ?? "");
  return [...new Set(heads.filter((head) => /copyright|licen[sc]e/i.test(head)))];
}
