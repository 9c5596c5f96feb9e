/** What the provider sees, and where the time goes. */
import type { GroupTime, Seen } from "./messages.ts";

const element = <T extends Element>(id: string): T => document.getElementById(id) as unknown as T;
const SVG = "http://www.w3.org/2000/svg";
const BAR = { width: 320, height: 7, gap: 2 };

/** The last ciphertext as a picture, one byte a pixel, and the counters. */
export function showSeen({ ciphertext, group, queries, bytesUp, bytesDown }: Seen): void {
  const canvas = element<HTMLCanvasElement>("ciphertext");
  const { width } = canvas;
  canvas.height = Math.max(1, Math.ceil(ciphertext.length / width));
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(width, canvas.height);
  for (let i = 0; i < ciphertext.length; i++) {
    image.data.set([ciphertext[i], ciphertext[i], ciphertext[i], 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  const bits = entropy(ciphertext);
  canvas.setAttribute(
    "aria-label",
    `The last query as a picture: ${ciphertext.length} bytes of noise, ${bits.toFixed(2)} bits a byte`,
  );
  text("seen-caption", `The last query, for ${group}: ${ciphertext.length} bytes, one a pixel.`);
  text("up", bytes(bytesUp));
  text("down", bytes(bytesDown));
  text("queries", queries.toLocaleString("en"));
  text("entropy", `${bits.toFixed(2)} of 8 bits a byte`);
}

/** Bars of one answer, a group a line, and the same as a table. */
export function showTimes(groups: readonly GroupTime[]): void {
  const totals = groups.map(({ modelMs, wireMs, providerMs }) => modelMs + wireMs + providerMs);
  const longest = Math.max(...totals, 1e-9);
  const svg = document.createElementNS(SVG, "svg");
  const height = groups.length * (BAR.height + BAR.gap);
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
        y: i * (BAR.height + BAR.gap),
        width,
        height: BAR.height,
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
    `Between query and answer ${percent(wire)}, in which the base model goes on computing; provider ${percent(provider)}.`,
  );
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

/** Shannon entropy of the bytes as they occur, bits a byte; a short text of true noise stays a little below 8. */
function entropy(data: Uint8Array): number {
  const counts = new Float64Array(256);
  for (const byte of data) counts[byte]++;
  return counts.reduce((sum, n) => (n === 0 ? sum : sum - (n / data.length) * Math.log2(n / data.length)), 0);
}

function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let value = count;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}

function text(id: string, value: string): void {
  element<HTMLElement>(id).textContent = value;
}
