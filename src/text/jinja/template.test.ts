import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { JinjaTemplate, TemplateFault, TemplateRefusal } from "./template.ts";

const VECTORS = new URL("../../../test/vectors/jinja/", import.meta.url);

type Answer = string | { raised: string } | null;

interface Fixture {
  readonly now: string;
  /** How many of the cases stand for an expression. */
  readonly expressions: number;
  readonly variables: Record<string, unknown>;
  readonly conversations: Record<string, Record<string, unknown>>;
  readonly cases: [string, ...string[], Answer][];
}

const read = (name: string): string => readFileSync(new URL(name, VECTORS), "utf8");
const fixture = (name: string): Fixture => JSON.parse(read(name));

/** Our own result: a text, the template's refusal, or null with the reason of ours. */
function rendered(
  source: string,
  variables: Record<string, unknown>,
  now: string,
): { answer: Answer; why: string } {
  try {
    return { answer: new JinjaTemplate(source).render(variables, () => new Date(now)), why: "" };
  } catch (error) {
    if (error instanceof TemplateRefusal) return { answer: { raised: error.message }, why: "" };
    if (error instanceof TemplateFault) return { answer: null, why: error.message };
    throw error;
  }
}

/** Cases that differ from jinja2's answer, and cases that jinja2 answers and we refuse. */
function differences(
  cases: readonly (readonly [name: string, expected: Answer, ours: ReturnType<typeof rendered>])[],
): {
  wrong: string[];
  refused: string[];
} {
  const wrong: string[] = [];
  const refused: string[] = [];
  for (const [name, expected, { answer, why }] of cases) {
    if (JSON.stringify(answer) === JSON.stringify(expected)) continue;
    if (answer === null) refused.push(`${name}  # ${why}`);
    else wrong.push(`${name}: ${JSON.stringify(answer)}, jinja2: ${JSON.stringify(expected)}`);
  }
  return { wrong, refused };
}

describe("templates as jinja2 renders them", () => {
  it("expressions and short templates: each equal or refused, and no more refused than is written down", () => {
    const { cases, variables, now, expressions } = fixture("expressions.json");
    const compared = cases.map(([source, expected], i) => {
      const template = i < expressions ? `{{ ${source} }}` : source;
      return [JSON.stringify(source), expected as Answer, rendered(template, variables, now)] as const;
    });
    const { wrong, refused } = differences(compared);
    expect(wrong).toEqual([]);
    expect(`${refused.join("\n")}\n`).toBe(read("refused.txt"));
  });

  it("chat templates: each equal", () => {
    const { cases, conversations, now } = fixture("templates.json");
    const compared = cases.map(([file, name, expected]) => {
      const source = read(`templates/${file}`);
      return [
        `${file}, ${name}`,
        expected as Answer,
        rendered(source, conversations[name as string], now),
      ] as const;
    });
    const { wrong, refused } = differences(compared);
    expect(wrong).toEqual([]);
    expect(refused).toEqual([]);
    expect(new Set(cases.map(([file]) => file))).toEqual(new Set(readdirSync(new URL("templates", VECTORS))));
  });
});
