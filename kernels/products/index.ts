// Products of float32 rows with matrices of small integers, as MatMulNBits of ONNX Runtime has them (src/weights/quantize-blocks.ts):
//
//   y_r = Σ_b s_rb·t_b·Σ_i (c_rbi − z_rb)·q_bi      x_bi ≈ t_b·q_bi, q_bi in [−127, 127]
//
// Nothing here is hidden from the machine that runs it: the base model is public, and the activations are its user's. The host
// wipes them after each product (docs/security.md, *Side channels*).
//
// A load of 16 bytes has 8 words of 16 bits. With 4 bits a word holds entries 4l to 4l + 3 of 32, with 8 bits entries 2l and
// 2l + 1 of 16: masks and shifts make vectors of words of them, without a move between lanes. The q_i lie in memory in the
// order in which these vectors have them.
//
// With relaxed SIMD one instruction multiplies 16 signed bytes with 16 of 7 bits, and adds four products each. Codes of 4 bits
// are such, and x then lies in memory in bytes, even entries of 32 before odd ones.

export { roundRows } from "./round-rows";
export { multiply } from "./multiply";

/** The first free address. */
export const heapStart: usize = 1024;
