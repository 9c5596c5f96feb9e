/** The page: loads a model as the app does, in a worker, and times it. bench/browser.ts calls `measure`. */
import type { Figures, Wishes } from "./figures.ts";

const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });

(globalThis as unknown as { measure(wishes: Wishes): Promise<Figures> }).measure = (wishes) =>
  new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Figures>) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(wishes);
  });
