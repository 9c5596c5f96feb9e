/** The client's end of a connection to a provider in the same process, frame by frame. */
import { packedBytes } from "../../src/ring/kernels.ts";
import { DEFAULT_PARAMETERS } from "../../src/rlwe/parameters.ts";
import {
  type ClientMessageInit,
  decodeProviderFrame,
  encodeClientFrame,
  PROTOCOL_VERSION,
  type ProviderMessage,
} from "../../src/wire/frames.ts";
import { type MemorySocket, settle } from "./memory-socket.ts";

type Frame = NonNullable<ClientMessageInit>;
type Fields = Record<string, unknown>;

/** The tiny bundle's base model. */
export const hello = (change: Fields = {}): Frame => ({
  case: "hello",
  value: { version: PROTOCOL_VERSION, baseFingerprint: new Uint8Array(32).fill(0x5a), ...change },
});

export const fetchKey = (id: number, keyId?: Uint8Array): Frame => ({
  case: "fetchKey",
  value: { id, ...(keyId && { keyId }) },
});

const QUERY_BYTES = packedBytes(DEFAULT_PARAMETERS.keyLength, DEFAULT_PARAMETERS.uploadBits);
let byte = 0;

/** A query of the first group whose ciphertext no other has. */
export const queryOf = (id: number, keyId: Uint8Array, vectors = 1, change: Fields = {}): Frame => ({
  case: "query",
  value: {
    ...{ id, group: 0, vectors, keyId },
    ciphertext: new Uint8Array(vectors * QUERY_BYTES).fill(++byte),
    ...change,
  },
});

export function say(socket: MemorySocket, ...frames: Frame[]): void {
  for (const frame of frames) socket.send(encodeClientFrame(frame));
}

export const heard = (socket: MemorySocket): ProviderMessage[] =>
  socket.received.map((bytes) => decodeProviderFrame(bytes, 64 << 20));

export const cases = (socket: MemorySocket): string[] => heard(socket).map(({ case: name }) => name);

/** Values of the frames of one kind that have come. */
export function heardOf<C extends ProviderMessage["case"]>(
  socket: MemorySocket,
  name: C,
): Extract<ProviderMessage, { case: C }>["value"][] {
  return heard(socket).flatMap((frame) => (frame.case === name ? [frame.value as never] : []));
}

/** Waits until something holds; the test's time limit ends it if it never does. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Says Hello, fetches a key of the tiny bundle and returns its id; of what came the Welcome stays. */
export async function enterWithKey(client: MemorySocket, change: Fields = {}): Promise<Uint8Array> {
  say(client, hello(change), fetchKey(1));
  await until(() => heardOf(client, "keyPart").length === 2);
  await settle();
  const [{ keyId }] = heardOf(client, "keyMade");
  client.received.splice(1);
  return keyId;
}
