// Reads and writes the coefficients of a SEAL plaintext through its serialized form: node-seal has no setter.
import type { Context } from "node-seal/implementation/context.js";
import type { PlainText, SEALLibrary } from "./load-seal.ts";

/** Bytes before the coefficients in an uncompressed plaintext: header, parms_id, count, scale, array header. */
const HEADER_BYTES = 88;

export interface CoefficientCodec {
  /** plain ← Σ values[i]·X^i mod t; values integers in (−t/2, t/2). */
  write(values: Float64Array, plain: PlainText): void;
  /** Coefficients, centred in (−t/2, t/2]; missing leading ones are absent. */
  read(plain: PlainText): Float64Array;
}

export function makeCoefficientCodec(seal: SEALLibrary, context: Context, t: number): CoefficientCodec {
  const none = seal.ComprModeType.none;
  const templates = new Map<number, Uint8Array>();
  return {
    write(values, plain) {
      const bytes = templateFor(values.length);
      const words = new Uint32Array(bytes.buffer, HEADER_BYTES);
      for (let i = 0; i < values.length; i++) words[2 * i] = values[i] < 0 ? values[i] + t : values[i];
      // A base64 string crosses into wasm in one copy; loadArray copies byte by byte and takes longer.
      plain.load(context, Buffer.from(bytes.buffer).toString("base64"));
    },
    read(plain) {
      const saved = plain.saveArray(none);
      const view = new DataView(saved.buffer, saved.byteOffset + HEADER_BYTES);
      const out = new Float64Array((saved.length - HEADER_BYTES) / 8);
      for (let i = 0; i < out.length; i++) {
        const value = view.getUint32(8 * i, true);
        out[i] = value > t / 2 ? value - t : value;
      }
      return out;
    },
  };

  /** A saved all-zero plaintext of this many coefficients, whose words are then overwritten. */
  function templateFor(coefficients: number): Uint8Array {
    let bytes = templates.get(coefficients);
    if (bytes === undefined) {
      const plain = seal.PlainText();
      plain.resize(coefficients);
      bytes = Uint8Array.from(plain.saveArray(none));
      if (bytes.length !== HEADER_BYTES + 8 * coefficients)
        throw new Error("SEAL's plaintext format has changed");
      plain.delete();
      templates.set(coefficients, bytes);
    }
    return bytes;
  }
}
