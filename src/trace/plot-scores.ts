/** Scores of all accounts as SVG by hand: a dot each, and what an innocent one reaches. Readable on light and dark. */
import type { TraceReport } from "./trace.ts";

const WIDTH = 860;
const HEIGHT = 300;
const LEFT = 60;
const RIGHT = 20;
const TOP = 50;
const BOTTOM = 40;
const INK = "#808080";
const NAMED = "#d1495b";
const OTHER = "#2e86ab";
/** Names that are written beside their dots. */
const MOST_NAMES = 8;

export function plotScores({ adapter, accounts }: TraceReport): string {
  const highest = Math.max(8, ...accounts.map(({ score }) => score)) * 1.05;
  const lowest = Math.min(-4, ...accounts.map(({ score }) => score));
  const x = (score: number) => LEFT + ((score - lowest) / (highest - lowest)) * (WIDTH - LEFT - RIGHT);
  const parts = [
    text(LEFT, 22, `${escapeXml(adapter)}: ${accounts.length} accounts`, 'font-weight="bold"'),
    text(LEFT, 38, "standard deviations above an account that has nothing to do with the copy"),
  ];
  const step = [2, 5, 10, 20, 50, 100, 200, 500].find((each) => (highest - lowest) / each <= 10) ?? 1000;
  for (let at = Math.ceil(lowest / step) * step; at <= highest; at += step) {
    parts.push(
      `<line x1="${x(at).toFixed(1)}" y1="${TOP}" x2="${x(at).toFixed(1)}" y2="${HEIGHT - BOTTOM}" stroke="${INK}" stroke-opacity="0.3"/>`,
      text(x(at), HEIGHT - BOTTOM + 18, String(at), 'text-anchor="middle"'),
    );
  }
  for (const [i, { account, score, isNamed }] of accounts.entries()) {
    const y = TOP + 12 + ((i * 37) % (HEIGHT - TOP - BOTTOM - 20));
    const colour = isNamed ? NAMED : OTHER;
    parts.push(`<circle cx="${x(score).toFixed(1)}" cy="${y}" r="${isNamed ? 5 : 3}" fill="${colour}"/>`);
    if (isNamed && i < MOST_NAMES) {
      const end = score > (highest + lowest) / 2;
      parts.push(
        text(
          x(score) + (end ? -9 : 9),
          y + 4,
          escapeXml(account),
          `text-anchor="${end ? "end" : "start"}" fill="${colour}"`,
        ),
      );
    }
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" font-family="sans-serif" font-size="12">`,
    `<title>Scores of accounts for a copy of ${escapeXml(adapter)}</title>`,
    `<g fill="${INK}" stroke="none">\n${parts.join("\n")}\n</g>`,
    "</svg>\n",
  ].join("\n");
}

const text = (x: number, y: number, content: string, more = "") =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${content}</text>`;

const escapeXml = (content: string) => content.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
