/** A platform that keeps what goes out: all that a provider can see. */
import type { Platform } from "../../base/platform.ts";
import { decodeClientFrame } from "../../wire/frames.ts";

export class Capture {
  /** Frames as they were handed to the socket, while recording. */
  readonly frames: Uint8Array[] = [];
  recording = false;

  wrap(platform: Platform): Platform {
    return {
      tensors: platform.tensors,
      connect: async (url, options) => {
        const socket = await platform.connect(url, options);
        const send = socket.send.bind(socket);
        socket.send = (message) => {
          if (this.recording) this.frames.push(message.slice());
          send(message);
        };
        return socket;
      },
    };
  }

  /** The ciphertexts of the recorded queries. */
  queries(): { vectors: number; ciphertext: Uint8Array }[] {
    return this.frames.flatMap((frame) => {
      const message = decodeClientFrame(frame, frame.length);
      return message.case === "query" ? [message.value] : [];
    });
  }
}
