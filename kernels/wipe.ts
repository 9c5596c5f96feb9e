// Memory that held secrets.
import { SECRET_START, STATIC_END } from "./memory";

/** `bytes` zeros at `address`. From the host a typed array for each call would cost more than the zeros. */
export function wipe(address: usize, bytes: usize): void {
  memory.fill(address, 0, bytes);
}

/** Zeros in all static buffers that depend on secrets. */
export function wipeScratch(): void {
  memory.fill(SECRET_START, 0, STATIC_END - SECRET_START);
}
