/** Curves of error against queries as SVG by hand: logarithmic error, one panel a group. Readable on light and dark. */
import type { AttackResult } from "./attack.ts";
import type { AuditReport, GroupReport } from "./report.ts";

const WIDTH = 860;
const PANEL = { height: 380, left: 70, right: 250, top: 46, bottom: 48 };
/** Seven hues of middle lightness, told apart also by dash. */
const COLOURS = ["#d1495b", "#2e86ab", "#c98a00", "#4c9f70", "#8e6bbf", "#c06c3e", "#3a9d9d"];
const DASHES = ["", "6 3", "2 3", "8 3 2 3"];
const LOWEST = 1e-4;
const INK = "#808080";

/** The report's curves; the error of deltas on held-out activations. */
export function plotCurves({ adapter, groups }: AuditReport): string {
  const height = PANEL.height * groups.length;
  const panels = groups.map((group, i) => panel(group, i * PANEL.height, adapter));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" font-family="sans-serif" font-size="12">`,
    `<title>Error of stolen copies against queries: ${escapeXml(adapter)}</title>`,
    ...panels,
    "</svg>\n",
  ].join("\n");
}

function panel(group: GroupReport, offset: number, adapter: string): string {
  const curves = group.attacks.filter(({ points }) => points.length > 1);
  const most = Math.max(1, ...curves.flatMap(({ points }) => points.map(({ queries }) => queries)));
  const plotWidth = WIDTH - PANEL.left - PANEL.right;
  const plotHeight = PANEL.height - PANEL.top - PANEL.bottom;
  const x = (queries: number) => PANEL.left + (queries / most) * plotWidth;
  const y = (error: number) => {
    const depth = Math.log10(Math.min(2, Math.max(LOWEST, error)) / 2) / Math.log10(LOWEST / 2);
    return offset + PANEL.top + depth * plotHeight;
  };
  const parts = [
    text(
      PANEL.left,
      offset + 22,
      escapeXml(`${adapter}: n = ${group.inFeatures}, ${group.rows} rows`),
      'font-weight="bold"',
    ),
    text(
      PANEL.left,
      offset + 38,
      "relative error of deltas on held-out activations, against activation vectors asked",
    ),
  ];
  for (const error of [1, 0.1, 0.01, 0.001, 0.0001]) {
    parts.push(line(PANEL.left, y(error), PANEL.left + plotWidth, y(error), 'stroke-opacity="0.35"'));
    parts.push(text(PANEL.left - 8, y(error) + 4, String(error), 'text-anchor="end"'));
  }
  for (let i = 0; i <= 4; i++) {
    const queries = Math.round((most * i) / 4);
    parts.push(
      text(x(queries), offset + PANEL.height - PANEL.bottom + 18, String(queries), 'text-anchor="middle"'),
    );
  }
  const known = group.functionQueries;
  if (known !== null && known <= most) {
    parts.push(
      line(x(known), offset + PANEL.top, x(known), offset + PANEL.top + plotHeight, 'stroke-dasharray="3 3"'),
    );
    parts.push(text(x(known) + 4, offset + PANEL.top + 12, "n·h/b0"));
  }
  for (const [i, curve] of curves.entries()) parts.push(curveOf(curve, i, x, y, offset));
  return `<g fill="${INK}" stroke="none">\n${parts.join("\n")}\n</g>`;
}

function curveOf(
  { attack, variant, points }: AttackResult,
  i: number,
  x: (queries: number) => number,
  y: (error: number) => number,
  offset: number,
): string {
  const colour = COLOURS[i % COLOURS.length];
  const dash = DASHES[i % DASHES.length];
  const path = points.map((p) => `${x(p.queries).toFixed(1)},${y(p.deltaError).toFixed(1)}`).join(" ");
  const stroke = `fill="none" stroke="${colour}" stroke-width="2"${dash && ` stroke-dasharray="${dash}"`}`;
  const left = WIDTH - PANEL.right + 16;
  const top = offset + PANEL.top + 10 + 18 * i;
  return [
    `<polyline points="${path}" ${stroke}/>`,
    `<polyline points="${left},${top} ${left + 26},${top}" ${stroke}/>`,
    text(left + 32, top + 4, escapeXml(`${attack}: ${variant}`)),
  ].join("\n");
}

const line = (x1: number, y1: number, x2: number, y2: number, more: string) =>
  `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${INK}" ${more}/>`;

const text = (x: number, y: number, content: string, more = "") =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${content}</text>`;

const escapeXml = (content: string) => content.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
