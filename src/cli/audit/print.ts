/** The audit's report as a table of 80 columns. */
import type { AttackResult } from "../../audit/attack.ts";
import type { AuditReport, GroupReport } from "../../audit/report.ts";
import { grouped } from "../../base/show-number.ts";
import { oneLine, paint, print, printField, WIDTH, wrap } from "../shared/terminal.ts";

export function printAudit(report: AuditReport): void {
  print(paint(`Audit of ${oneLine(report.adapter)} (${report.parameters})`, "bold"));
  for (const { what, attack, coreBits, standardBits } of report.security) {
    printField(
      what,
      `2^${Math.floor(standardBits)} operations, HE-standard model; core-SVP 2^${Math.floor(coreBits)} (${attack})`,
      22,
    );
  }
  printWear(report);
  for (const group of report.groups) printGroup(group, report);
  printToy(report);
  printEffects(report);
  printRecommendation(report);
}

function printToy({ toy }: AuditReport): void {
  if (toy.length === 0) return;
  print();
  print(paint("Lattice reduction end to end, at toy size (LLL, q = 2^32)", "bold"));
  print(`${"instance".padEnd(44)}${"dimension".padStart(12)}${"weights found".padStart(16)}`);
  print("-".repeat(WIDTH));
  for (const { what, dimension, found, expected } of toy) {
    const cells = [
      what.padEnd(44),
      String(dimension).padStart(12),
      `${Math.round(100 * found)} %`.padStart(16),
    ];
    print(`${cells.join("")}${found > 0.5 === expected ? "" : "  unexpected"}`);
  }
}

function printEffects({ effects }: AuditReport): void {
  if (effects.length === 0) return;
  print();
  print(paint(`What errors and b0 cost answers, ${grouped(effects[0].tokens)} tokens of text`, "bold"));
  print(`${"layers".padEnd(32)}${"same next token".padStart(18)}${"perplexity".padStart(14)}`);
  print("-".repeat(WIDTH));
  for (const { what, agreement, perplexity } of effects) {
    const share = `${(100 * agreement).toFixed(2)} %`;
    print(`${what.padEnd(32)}${share.padStart(18)}${perplexity.toFixed(3).padStart(14)}`);
  }
}

function printRecommendation({ recommendation, effects }: AuditReport): void {
  const { replyBits, queriesGained, budgets } = recommendation;
  print();
  print(paint("Recommendation", "bold"));
  for (const { group, inFeatures, halfError, fifthError, attack, vectors } of budgets) {
    const known = (queries: number) => (Number.isFinite(queries) ? grouped(queries) : "not reached");
    printField(
      `group ${group}`,
      `n = ${inFeatures}: at most ${grouped(vectors)} vectors for all accounts together keep a copy's deltas at an error ` +
        `of 0.5 or more (0.5 after ${known(halfError)}, 0.2 after ${known(fifthError)}; first: ${oneLine(attack)})`,
      12,
    );
  }
  if (effects.length === 0) return;
  const b0 =
    replyBits === 0
      ? "b0 as it is: lower ones change answers"
      : `b0 could be ${-replyBits} lower with 99.5 % of next tokens unchanged, ${Math.round(100 * queriesGained)} % more ` +
        "queries for a thief";
  printField("b0", b0, 12);
}

function printGroup(group: GroupReport, { replyBits, vectorsPerKey }: AuditReport): void {
  const { inFeatures: n, rows, weightEntropy, functionQueries } = group;
  print();
  const [first, ...others] = group.modules.map(oneLine);
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  print(paint(`Group ${group.group}: ${first}${more}`, "bold"));
  printField("shape", `n = ${n}, ${rows} rows, b0 = ${replyBits} bits a row and vector`);
  printField(
    "bound",
    `a weight has ${weightEntropy.toFixed(1)} bits at the precision of answers; ${grouped(functionQueries)} chosen ` +
      `vectors, ${(functionQueries / vectorsPerKey).toFixed(1)} keys, can teach the function`,
  );
  print();
  print(HEAD);
  print("-".repeat(WIDTH));
  for (const result of group.attacks) printCurve(result);
  print();
  for (const { attack, finding } of group.attacks) printField(attack, finding, 12);
}

/** What lattice reduction would have to finish after so many vectors under one key. */
function printWear({ wear, keyLength }: AuditReport): void {
  print();
  print(paint(`One key (${keyLength} entries of S) after chosen vectors, worst case known`, "bold"));
  print("   vectors   dimension left   core bits   std bits");
  print("-".repeat(WIDTH));
  for (const { vectors, dimension, coreBits, standardBits, isRefused } of wear) {
    const cells = [
      grouped(vectors).padStart(10),
      grouped(dimension).padStart(17),
      Math.floor(coreBits).toString().padStart(12),
      Math.floor(standardBits).toString().padStart(11),
    ];
    print(`${cells.join("")}${isRefused ? "   (refused before)" : ""}`);
  }
}

const HEAD = `${"attack".padEnd(38)}${"queries".padStart(9)}${"weights".padStart(11)}${"deltas".padStart(11)}${"known".padStart(10)}`;

/** Some points of a curve; relative errors of weights and of deltas on held-out activations. */
function printCurve({ attack, variant, points }: AttackResult): void {
  const step = Math.max(1, Math.ceil(points.length / 5));
  const shown = points.filter((_, i) => (points.length - 1 - i) % step === 0);
  for (const [i, point] of shown.entries()) {
    const label = i === 0 ? wrap(`${attack}: ${variant}`, 38)[0] : "";
    const cells = [
      label.padEnd(38),
      grouped(point.queries).padStart(9),
      point.weightError.toFixed(4).padStart(11),
      point.deltaError.toFixed(4).padStart(11),
      `${(100 * point.known).toFixed(1)} %`.padStart(10),
    ];
    print(cells.join(""));
  }
}
