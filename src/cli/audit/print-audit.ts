/** The audit's report as a table of 80 columns. */
import type { AttackResult } from "../../audit/attack.ts";
import type { AuditReport, GroupReport } from "../../audit/report.ts";
import { grouped, oneLine, paint, print, printField, WIDTH, wrap } from "../terminal.ts";

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
    `a weight has ${weightEntropy.toFixed(1)} bits; ${grouped(functionQueries)} chosen vectors can teach the function`,
  );
  print();
  print(HEAD);
  print("-".repeat(WIDTH));
  for (const result of group.attacks) printCurve(result);
  print();
  for (const { attack, finding } of group.attacks) printField(attack, finding, 12);
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
