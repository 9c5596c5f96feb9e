/** The audit's report as a table of 80 columns. */
import type { AttackResult } from "../../audit/attack.ts";
import type { AuditReport, GroupReport } from "../../audit/report.ts";
import { grouped, oneLine, paint, print, printField, WIDTH, wrap } from "../shared/terminal.ts";

export function printAudit(report: AuditReport): void {
  print(paint(`Audit of ${oneLine(report.adapter)} (${report.output}, ${report.parameters})`, "bold"));
  for (const { what, attack, coreBits, standardBits } of report.security) {
    printField(
      what,
      `2^${Math.floor(standardBits)} operations, HE-standard model; core-SVP 2^${Math.floor(coreBits)} (${attack})`,
      22,
    );
  }
  for (const group of report.groups) printGroup(group);
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
  print(paint(`What w and b0 cost answers, ${grouped(effects[0].tokens)} tokens of text`, "bold"));
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
  if (budgets.length === 0) {
    printField(
      "budget",
      "none can be recommended for sealed output, which needs fewer queries than public-basis and will be removed",
      12,
    );
  }
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
  printField("w", "as it is: narrower weights are fewer bits for a thief to ask for", 12);
}

function printGroup(group: GroupReport): void {
  const { inFeatures: n, rows, weightBits, replyBits, weightEntropy, functionQueries } = group;
  print();
  const [first, ...others] = group.modules.map(oneLine);
  const more = others.length === 0 ? "" : ` and ${others.length} more`;
  print(paint(`Group ${group.group}: ${first}${more}`, "bold"));
  printField("shape", `n = ${n}, ${rows} rows, w = ${weightBits} bits, b0 = ${replyBits} bits`);
  printField(
    "bound",
    `a weight has ${weightEntropy.toFixed(1)} bits; ${
      functionQueries === null
        ? "no figure for sealed output: its matrix has low rank, and rows alone are no bound (attack lowrank)"
        : `${grouped(functionQueries)} chosen vectors can teach the function`
    }`,
  );
  print();
  print(HEAD);
  print("-".repeat(WIDTH));
  for (const result of group.attacks) printCurve(result);
  print();
  for (const { attack, finding } of group.attacks) printField(attack, finding, 12);
  if (group.leak.length === 0) return;
  print();
  print("   queries   bits/row   of row  hint dimension  core bits  std bits left");
  print("-".repeat(WIDTH));
  for (const { queries, bits, share, dimension, coreBits, standardBits } of group.leak) {
    const cells = [
      grouped(queries).padStart(10),
      grouped(bits).padStart(11),
      `${(100 * share).toFixed(0)} %`.padStart(9),
      grouped(dimension).padStart(16),
      Math.floor(coreBits).toString().padStart(11),
      Math.floor(standardBits).toString().padStart(15),
    ];
    print(cells.join(""));
  }
}

const HEAD = `${"attack".padEnd(38)}${"queries".padStart(9)}${"weights".padStart(11)}${"deltas".padStart(11)}${"exact".padStart(10)}`;

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
      `${(100 * point.exact).toFixed(1)} %`.padStart(10),
    ];
    print(cells.join(""));
  }
}
