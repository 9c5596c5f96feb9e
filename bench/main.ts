// npm run bench -- kernels|layer|keys|peer|tokens|load|marks|conversations|families|network|engine|browser|context|timing-leak|all [--quick]
// network, context: [--full] [--weights=FORMAT]; network, conversations: [--shape=NAME] [--line=NAME]
// network: [--adapted=q,v|all] [--modes=none,look-ahead,wavefront,drafts,alora,tokens]
// engine: [--full] [--shape=NAME] [--only=llama,graph,lora,private] [--rounds=N] [--short] [--profile] [--weights=FORMAT]
// families: [--only=NAME,…] [--weights=FORMAT] [--other=FOLDER] [--modes=alone,inside,cut]
// npm run bench -- versus --other=FOLDER[,FOLDER] [--only=core,tokens,load,shapes] [--shape=NAME] [--full] [--quick]
import { collectLessOften } from "../src/platform/node/heap.ts";
import { type BenchOptions, describeRun, type Section, writeResults } from "./harness.ts";

interface BenchModule {
  run(options: BenchOptions): Promise<Section[]>;
}

/** Name → module; "all" runs them in this order. A new bench is one line here. */
const BENCHES: Record<string, () => Promise<BenchModule>> = {
  kernels: () => import("./kernels-table.ts"),
  layer: () => import("./layer.ts"),
  keys: () => import("./keys.ts"),
  peer: () => import("./seal-peer.ts"),
  tokens: () => import("./tokens.ts"),
  load: () => import("./load.ts"),
  network: () => import("./network.ts"),
  marks: () => import("./marks.ts"),
  conversations: () => import("./conversations.ts"),
  families: () => import("./families.ts"),
  engine: () => import("./engine.ts"),
  browser: () => import("./browser.ts"),
  context: () => import("./context.ts"),
  "timing-leak": () => import("./timing-leak.ts"),
};

/** Needs a second version beside. */
const VERSUS: typeof BENCHES = { versus: () => import("./versus.ts") };

// As the command line has it.
collectLessOften();
// The processes that benches have started end with them: that waits for "exit".
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => process.exit(1));

async function main(args: readonly string[]): Promise<number> {
  const names = args.filter((arg) => !arg.startsWith("-"));
  const known = [...Object.keys(BENCHES), ...Object.keys(VERSUS), "all"];
  const options = readOptions(args.filter((arg) => arg.startsWith("-")));
  const unknown = names.filter((name) => !known.includes(name));
  if (options === undefined || unknown.length > 0 || names.length === 0) {
    console.error(
      `error: ${names.length === 0 ? "no bench named" : `unknown bench or option in: ${args.join(" ")}`}`,
    );
    console.error(`hint: npm run bench -- ${known.join("|")} [--quick]`);
    console.error("      network, context, engine: [--full] [--weights=original|int8|int4]");
    console.error("      network, conversations: [--shape=NAME] [--line=NAME]");
    console.error(
      "      network: [--adapted=q,v|all] [--modes=none,look-ahead,wavefront,drafts,alora,tokens]",
    );
    console.error(
      "      engine: [--full] [--shape=NAME] [--only=llama,graph,lora,private] [--rounds=N] [--short] [--profile]",
    );
    console.error(
      "      families: [--only=NAME,…] [--weights=FORMAT] [--other=FOLDER] [--modes=alone,inside,cut]",
    );
    console.error(
      "      versus: --other=FOLDER[,FOLDER] [--only=core,tokens,load,shapes] [--shape=NAME] [--full]",
    );
    return 2;
  }
  for (const name of names.includes("all") ? Object.keys(BENCHES) : names) await runBench(name, options);
  return 0;
}

/** Undefined for an option that is not one. */
function readOptions(flags: readonly string[]): BenchOptions | undefined {
  const options: { -readonly [Key in keyof BenchOptions]: BenchOptions[Key] } = { quick: false };
  for (const flag of flags) {
    const [name, value] = flag.split("=");
    if (flag === "--quick") options.quick = true;
    else if (flag === "--full") options.full = true;
    else if (name === "--shape" && value) options.shape = value;
    else if (name === "--line" && value) options.line = value;
    else if (name === "--modes" && value) options.modes = value.split(",");
    else if (name === "--adapted" && value) options.adapted = value;
    else if (name === "--other" && value) options.other = value;
    else if (flag === "--short") options.short = true;
    else if (flag === "--profile") options.profile = true;
    else if (name === "--only" && value) options.only = value.split(",");
    else if (name === "--rounds" && Number(value) > 0) options.rounds = Number(value);
    else if (name === "--weights" && isWeights(value)) options.weights = value;
    else return undefined;
  }
  return options;
}

function isWeights(value: string | undefined): value is NonNullable<BenchOptions["weights"]> {
  return value === "original" || value === "int8" || value === "int4";
}

async function runBench(name: string, options: BenchOptions): Promise<void> {
  console.error(`running ${name} …`);
  const bench: BenchModule = await { ...BENCHES, ...VERSUS }[name]();
  const sections = await bench.run(options);
  const quick = options.quick ? "\n- **--quick: a smoke test, not figures to quote**" : "";
  const head = `# Bench: ${name}\n\n${describeRun()}${quick}\n`;
  const markdown = [head, ...sections.map(({ title, body }) => `## ${title}\n\n${body}\n`)].join("\n");
  console.log(markdown);
  console.error(`written to ${writeResults(name, markdown)}`);
}

process.exitCode = await main(process.argv.slice(2));
