/**
 * Sessions on the processor, by ONNX Runtime's binding itself. Its public class runs the same call in a later turn of the
 * event loop and checks what it is given each time. A decode step of a model that is cut runs a hundred sessions, each
 * some tens of microseconds long: without that detour it takes 2 to 3 % less time. The package's exact version is fixed,
 * and native-session.test.ts holds what is used of it.
 */
import type { InferenceSession, OnnxValue } from "onnxruntime-common";
import type { RunnableSession } from "../ort-session.ts";
import { nextTurn } from "./after-events.ts";

/** The part of onnxruntime-node/dist/binding.js that is used. */
export interface NativeBinding {
  readonly initOrt: () => void;
  readonly binding: {
    readonly InferenceSession: new () => {
      loadModel(
        buffer: ArrayBufferLike,
        at: number,
        bytes: number,
        options: InferenceSession.SessionOptions,
      ): void;
      readonly outputMetadata: readonly { readonly name: string }[];
      run(
        feeds: Readonly<Record<string, OnnxValue>>,
        fetches: Readonly<Record<string, null>>,
        options: InferenceSession.RunOptions,
      ): Record<string, OnnxValue>;
      dispose(): void;
    };
  };
}

/** After so many milliseconds of runs in one turn the next one lets timers and sockets have theirs first. */
const LONGEST_TURN_MS = 4;

let turnBegan = 0;

/** A run is over when it returns; in between, events wait no longer than some short runs or one long one. */
export async function createNativeSession(
  { initOrt, binding }: NativeBinding,
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
): Promise<RunnableSession> {
  await beginTurn();
  initOrt();
  const session = new binding.InferenceSession();
  session.loadModel(model.buffer, model.byteOffset, model.byteLength, options);
  const fetches = Object.fromEntries(session.outputMetadata.map(({ name }) => [name, null]));
  return {
    run(feeds) {
      if (performance.now() - turnBegan < LONGEST_TURN_MS) return session.run(feeds, fetches, {});
      return beginTurn().then(() => session.run(feeds, fetches, {}));
    },
    async release() {
      session.dispose();
    },
  };
}

async function beginTurn(): Promise<void> {
  await nextTurn();
  turnBegan = performance.now();
}
