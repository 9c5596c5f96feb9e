// Seeded random checkpoints and adapters of real models' shapes: node tools/make-checkpoint.mjs --help
import { register } from "tsx/esm/api";

register();
await import("./checkpoint/main.ts");
