// npm run bench -- kernels|layer|peer|tokens|large|all [--quick] [--full] [--shape=NAME]
import { type BenchOptions, describeRun, type Section, writeResults } from "./harness.ts";

interface BenchModule {
  run(options: BenchOptions): Promise<Section[]>;
}

/** Name → module; "all" runs them in this order. A new bench is one line here. */
const BENCHES: Record<string, () => Promise<BenchModule>> = {
  kernels: () => import("./kernels-table.ts"),
  layer: () => import("./layer.ts"),
  peer: () => import("./seal-peer.ts"),
  tokens: () => import("./tokens.ts"),
  large: () => import("./large.ts"),
};

async function main(args: readonly string[]): Promise<number> {
  const flags = args.filter((arg) => arg.startsWith("-"));
  const names = args.filter((arg) => !arg.startsWith("-"));
  const known = [...Object.keys(BENCHES), "all"];
  const unknown = [
    ...flags.filter((flag) => flag !== "--quick" && flag !== "--full" && !flag.startsWith("--shape=")),
    ...names.filter((name) => !known.includes(name)),
  ];
  if (unknown.length > 0 || names.length === 0) {
    const what = unknown.length > 0 ? `unknown bench or option: ${unknown.join(", ")}` : "no bench named";
    console.error(
      `error: ${what}\nhint: npm run bench -- ${known.join("|")} [--quick] [--full] [--shape=NAME]`,
    );
    return 2;
  }
  const shape = flags.find((flag) => flag.startsWith("--shape="))?.slice("--shape=".length);
  const options: BenchOptions = {
    quick: flags.includes("--quick"),
    full: flags.includes("--full"),
    ...(shape === undefined ? {} : { shape }),
  };
  for (const name of names.includes("all") ? Object.keys(BENCHES) : names) await runBench(name, options);
  return 0;
}

async function runBench(name: string, options: BenchOptions): Promise<void> {
  console.error(`running ${name} …`);
  const bench = await BENCHES[name]();
  const sections = await bench.run(options);
  const quick = options.quick ? "\n- **--quick: a smoke test, not figures to quote**" : "";
  const head = `# Bench: ${name}\n\n${describeRun()}${quick}\n`;
  const markdown = [head, ...sections.map(({ title, body }) => `## ${title}\n\n${body}\n`)].join("\n");
  console.log(markdown);
  console.error(`written to ${writeResults(name, markdown)}`);
}

process.exitCode = await main(process.argv.slice(2));
