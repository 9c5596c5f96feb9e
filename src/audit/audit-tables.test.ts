/**
 * The computed tables of docs/audit.md must be in the page as computed.
 *
 * To print them again into the page: UPDATE_DOCS=1 npx vitest run src/audit/audit-tables.test.ts
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectTable } from "../../test/support/computed-parts.ts";
import { predictedRelativeError } from "../pll/noise.ts";
import { answeredEntropy, functionQueries } from "../rlwe/lattice-estimate.ts";
import { DEFAULT_PARAMETERS as P } from "../rlwe/parameters.ts";
import { ALL_ATTACKS } from "./attacks/all-attacks.ts";
import { securityRows } from "./audit.ts";
import { keyWear } from "./wear.ts";

const PAGE = join(import.meta.dirname, "../../docs/audit.md");

function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  return lines.join("\n");
}

function wear(): string {
  const rows = keyWear(P).map(({ vectors, dimension, coreBits, standardBits, isRefused }) => [
    isRefused ? `${vectors}: refused` : vectors,
    dimension,
    Math.floor(coreBits),
    Math.floor(standardBits),
  ]);
  return table(["vectors under one key", "dimension left", "core", "std"], rows);
}

function security(): string {
  const rows = securityRows(P).map(({ what, coreBits, standardBits }) => [
    what,
    Math.floor(coreBits),
    Math.floor(standardBits),
  ]);
  return table(["", "core", "std"], rows);
}

function bounds(): string {
  const rows = [256, 704, 896, 4096].map((n) => {
    const entropy = answeredEntropy(predictedRelativeError(P, n));
    const queries = functionQueries(n, entropy, P.replyBits);
    return [n, entropy.toFixed(1), Math.round(queries), (queries / P.vectorsPerKey).toFixed(1)];
  });
  return table(["n", "h_A", "Q_func", "keys"], rows);
}

describe("docs/audit.md", () => {
  it.each(Object.entries({ wear, security, bounds }))("has the table %s as computed", (name, compute) => {
    expectTable(PAGE, name, compute());
  });

  it("explains every attack", () => {
    const page = readFileSync(PAGE, "utf8");
    for (const { name } of ALL_ATTACKS) expect(page).toContain(`\n| \`${name}\` |`);
  });
});
