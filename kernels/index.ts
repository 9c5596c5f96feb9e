// What the host can call. Addresses are byte offsets into the exported memory; sizes are read from the globals.
export { scaleActivation, squaredNorm } from "./activations";
export { expandRandom } from "./chacha20";
export { combineColumns } from "./combine-columns";
export { addErrors } from "./errors";
export { innerProducts, innerProducts8 } from "./inner-products";
export {
  PUBLIC_ELEMENT_BYTES as publicElementBytes,
  RING_DEGREE as ringDegree,
  SECRET_START as secretStart,
  STATIC_END as staticEnd,
} from "./memory";
export { initialise } from "./ntt-tables";
export { packTop, splitWords, unpackTop } from "./packing";
export { multiplyPublic, preparePublicElement, secretToNtt } from "./public-product";
export { addMarks } from "./marks";
export { recoverRows } from "./recover";
export { sampleTernary } from "./ternary";
export { addUniform, sampleUniform, sampleUniform8 } from "./uniform";
export { addWide, finishWide, prepareWide, transformSmall, transformSmall8, wideProductOf } from "./wide-product";
export { wipe, wipeScratch } from "./wipe";
