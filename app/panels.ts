/** What the provider sees, and where the time goes. */
import { element } from "./element.ts";
import type { FromWorker, GroupTime, Seen } from "./messages.ts";

const SVG = "http://www.w3.org/2000/svg";
const BAR = { width: 320, height: 5, gap: 2 };
/** All bars together are no higher than this, however many layers there are. */
const BARS_HEIGHT = 300;

/** The last ciphertext as a picture, one byte a pixel, and the counters. */
export function showSeen({ ciphertext, group, queries, bytesUp, bytesDown, keys, keyBytes }: Seen): void {
  const canvas = element<HTMLCanvasElement>("ciphertext");
  const { width } = canvas;
  canvas.height = Math.max(1, Math.ceil(ciphertext.length / width));
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, canvas.height);
  for (let i = 0; i < ciphertext.length; i++) {
    image.data.set([ciphertext[i], ciphertext[i], ciphertext[i], 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  const size = ciphertext.length.toLocaleString("en");
  canvas.setAttribute("aria-label", `The last query as a picture: ${size} bytes that look like noise`);
  text("seen-caption", `The last query: ${group}. ${size} bytes, each a pixel.`);
  text("up", bytes(bytesUp));
  text("down", bytes(bytesDown));
  text("queries", queries.toLocaleString("en"));
  text("keys", keys === 0 ? "none" : `${keys.toLocaleString("en")}, ${bytes(keyBytes)}`);
  const [measured, noise] = [entropy(ciphertext), entropyOfNoise(ciphertext.length)].map((bits) =>
    bits.toFixed(2),
  );
  text("entropy", `Randomness: ${measured} bits a byte. Pure noise of this length has ${noise}.`);
}

/** What drafts of the last private answer have saved. */
export function showDrafts({ ids, drafts, roundTrips }: Extract<FromWorker, { type: "done" }>): void {
  text("round-trips", (roundTrips / Math.max(1, ids.length)).toFixed(1));
  text("drafts", drafts === undefined ? "none" : `${drafts.accepted} of ${drafts.drafted}`);
}

/** Bars of one answer, a group a line, and the same as a table. */
export function showTimes(groups: readonly GroupTime[]): void {
  const totals = groups.map(({ modelMs, wireMs, providerMs }) => modelMs + wireMs + providerMs);
  const longest = Math.max(...totals, 1e-9);
  const svg = document.createElementNS(SVG, "svg");
  const step = Math.min(BAR.height + BAR.gap, BARS_HEIGHT / Math.max(1, groups.length));
  const thickness = (step * BAR.height) / (BAR.height + BAR.gap);
  const height = groups.length * step;
  svg.setAttribute("viewBox", `0 0 ${BAR.width} ${height}`);
  const rows: HTMLElement[] = [];
  for (const [i, { name, modelMs, wireMs, providerMs }] of groups.entries()) {
    let x = 0;
    for (const [kind, ms] of [
      ["model", modelMs],
      ["wire", wireMs],
      ["provider", providerMs],
    ] as const) {
      const width = (ms / longest) * BAR.width;
      const bar = document.createElementNS(SVG, "rect");
      bar.setAttribute("class", kind);
      for (const [key, value] of Object.entries({
        x,
        y: i * step,
        width,
        height: thickness,
      })) {
        bar.setAttribute(key, String(value));
      }
      svg.append(bar);
      x += width;
    }
    rows.push(row(name, [modelMs, wireMs, providerMs]));
  }
  element("bars").replaceChildren(svg);
  element("times").replaceChildren(...rows);
  const sum = totals.reduce((all, ms) => all + ms, 0);
  const provider = groups.reduce((all, { providerMs }) => all + providerMs, 0);
  const wire = groups.reduce((all, { wireMs }) => all + wireMs, 0);
  const percent = (ms: number): string => `${((100 * ms) / Math.max(sum, 1e-9)).toFixed(0)} %`;
  text(
    "share",
    `On the way ${percent(wire)}, while the base model goes on computing; at the provider ${percent(provider)}.`,
  );
  element("times-section").hidden = false;
}

function row(name: string, times: readonly number[]): HTMLElement {
  const line = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = name;
  line.append(head);
  for (const ms of times) {
    const cell = document.createElement("td");
    cell.textContent = ms.toFixed(1);
    line.append(cell);
  }
  return line;
}

/** Shannon entropy of the bytes as they occur, bits a byte. */
function entropy(data: Uint8Array): number {
  const counts = new Float64Array(256);
  for (const byte of data) counts[byte]++;
  return counts.reduce((sum, n) => (n === 0 ? sum : sum - (n / data.length) * Math.log2(n / data.length)), 0);
}

/**
 * What n uniform bytes are expected to show: 8 − 255/(2n·ln 2), the first term of the estimate's bias (Miller 1955).
 * A short text cannot show all of its 8 bits.
 */
function entropyOfNoise(n: number): number {
  return Math.max(0, 8 - 255 / (2 * n * Math.LN2));
}

function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let value = count;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}

function text(id: string, value: string): void {
  element(id).textContent = value;
}
