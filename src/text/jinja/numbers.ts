/** Python's decimal forms of floats: shortest, fixed and with an exponent, rounded half to even from the exact value. */

/** `repr` and `str`. */
export function floatText(x: number): string {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : x > 0 ? "inf" : "-inf";
  if (x === 0) return Object.is(x, -0) ? "-0.0" : "0.0";
  const [mantissa, exponent] = x.toExponential().split("e");
  const power = Number(exponent);
  if (power < -4 || power >= 16) return `${mantissa}e${exponentText(power)}`;
  const text = String(x);
  return text.includes(".") ? text : `${text}.0`;
}

function exponentText(power: number): string {
  return `${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** |x| = numerator / denominator, exactly. @param x finite */
function fraction(x: number): { numerator: bigint; denominator: bigint } {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, Math.abs(x));
  const bits = view.getBigUint64(0);
  const exponent = Number(bits >> 52n);
  const mantissa = (bits & 0xfffffffffffffn) | (exponent === 0 ? 0n : 1n << 52n);
  const power = Math.max(exponent, 1) - 1075;
  return power >= 0
    ? { numerator: mantissa << BigInt(power), denominator: 1n }
    : { numerator: mantissa, denominator: 1n << BigInt(-power) };
}

/** numerator / denominator to the nearest integer, the even one of two. */
export function divideToEven(numerator: bigint, denominator: bigint): bigint {
  const quotient = numerator / denominator;
  const twice = (numerator % denominator) * 2n;
  const up = twice > denominator || (twice === denominator && quotient % 2n === 1n);
  return up ? quotient + 1n : quotient;
}

/** |x|·10^digits, rounded. */
function scaled(x: number, digits: number): bigint {
  const { numerator, denominator } = fraction(x);
  return digits >= 0
    ? divideToEven(numerator * 10n ** BigInt(digits), denominator)
    : divideToEven(numerator, denominator * 10n ** BigInt(-digits));
}

/** |x| as `%.{digits}f`. @param x finite */
export function fixedText(x: number, digits: number): string {
  const text = String(scaled(x, digits)).padStart(digits + 1, "0");
  return digits === 0 ? text : `${text.slice(0, -digits)}.${text.slice(-digits)}`;
}

/** |x| as `%.{digits}e`. @param x finite */
export function exponentialText(x: number, digits: number): string {
  let power = x === 0 ? 0 : Number(x.toExponential().split("e")[1]);
  let text = String(scaled(x, digits - power));
  if (text.length > digits + 1) text = String(scaled(x, digits - ++power));
  text = text.padStart(digits + 1, "0");
  const mantissa = digits === 0 ? text[0] : `${text[0]}.${text.slice(1)}`;
  return `${mantissa}e${exponentText(power)}`;
}

/** |x| as `%.{digits}g`. @param x finite @param keepZeros as `#` does */
export function generalText(x: number, digits: number, keepZeros = false): string {
  const precision = Math.max(digits, 1);
  const exponential = exponentialText(x, precision - 1);
  const [mantissa, exponent] = exponential.split("e");
  const power = Number(exponent);
  const trimmed = (text: string): string =>
    keepZeros || !text.includes(".") ? text : text.replace(/\.?0+$/, "");
  if (power < -4 || power >= precision) return `${trimmed(mantissa)}e${exponent}`;
  return trimmed(fixedText(x, precision - 1 - power));
}

/** Python's `round(x, digits)`. */
export function roundFloat(x: number, digits: number): number {
  if (!Number.isFinite(x) || x === 0 || digits > 323) return x;
  if (digits < -308) return x < 0 ? -0 : 0;
  const rounded =
    digits >= 0 ? Number(fixedText(x, digits)) : Number(scaled(x, digits) * 10n ** BigInt(-digits));
  return x < 0 ? -rounded : rounded;
}

/** `float(text)`; undefined: not a number. */
export function parseFloatText(text: string): number | undefined {
  const word = /^([+-]?)(inf|infinity|nan)$/i.exec(text);
  if (word !== null) {
    if (word[2].toLowerCase() === "nan") return Number.NaN;
    return word[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  const digits = "\\d+(?:_\\d+)*";
  const number = new RegExp(`^[+-]?(?:${digits}\\.?(?:${digits})?|\\.${digits})(?:e[+-]?${digits})?$`, "i");
  return number.test(text) ? Number(text.replaceAll("_", "")) : undefined;
}
