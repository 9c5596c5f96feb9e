// Types that a signature of the package's entries mentions and that no entry exports: nobody could name them.
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";

// The compiler as a library: TypeScript 7 has none, and the linter of packages brings one along.
const ts = createRequire(createRequire(import.meta.url).resolve("@arethetypeswrong/core"))("typescript");

/**
 * @param {string} dist the built package's folder
 * @returns {string[]} "Type, in entry:Name" for each that is missing
 */
export function forgottenTypes(dist) {
  const folder = join(dist, "entry");
  const files = readdirSync(folder).filter((name) => name.endsWith(".d.ts"));
  const program = ts.createProgram(
    files.map((name) => join(folder, name)),
    {
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      target: ts.ScriptTarget.ES2022,
      lib: ["lib.es2023.d.ts", "lib.dom.d.ts"],
      types: [],
      skipLibCheck: true,
    },
  );
  const checker = program.getTypeChecker();
  const resolved = (symbol) =>
    symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const exported = new Map();
  for (const name of files) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(join(folder, name)));
    for (const symbol of checker.getExportsOfModule(module)) {
      exported.set(resolved(symbol), `${basename(name, ".d.ts")}:${symbol.name}`);
    }
  }
  const missing = new Map();
  const look = (node, place) => {
    const isHidden =
      (node.name && ts.isPrivateIdentifier(node.name)) ||
      node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword);
    // keyof typeof TABLE is a list of names, complete without the table.
    const isKeys = ts.isTypeOperatorNode(node) && ts.isTypeQueryNode(node.type);
    if (isHidden || isKeys) return;
    const name =
      node.typeName ?? node.exprName ?? (ts.isExpressionWithTypeArguments(node) && node.expression);
    const found = name && checker.getSymbolAtLocation(name);
    if (found) {
      const symbol = resolved(found);
      const isOurs = symbol.declarations?.[0].getSourceFile().fileName.startsWith(dist);
      const isParameter = symbol.flags & ts.SymbolFlags.TypeParameter;
      if (isOurs && !isParameter && !exported.has(symbol)) {
        missing.set(symbol.name, `${symbol.name}, in ${place}`);
      }
    }
    ts.forEachChild(node, (child) => look(child, place));
  };
  for (const [symbol, place] of exported) for (const node of symbol.declarations ?? []) look(node, place);
  return [...missing.values()];
}
