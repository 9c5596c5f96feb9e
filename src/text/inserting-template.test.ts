import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { utf8 } from "../base/bytes.ts";
import { openCheckpoint, withAdapterText } from "../weights/checkpoint.ts";
import { memoryFileTree } from "../weights/memory-files.ts";
import { encodeSafetensors } from "../weights/safetensors.ts";
import { type ChatMessage, loadChatTemplate, loadDirectTemplate } from "./chat-template.ts";

const CHATML =
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" +
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const TRIMMING = "{% for m in messages %}\n{{ m['role'] }}\n{{ m['content'] | trim }}\n{% endfor %}";
const SYSTEM_FIRST =
  "{% if messages[0].role == 'system' %}{% set s = messages[0].content %}{% set rest = messages[1:] %}" +
  "{% else %}{% set rest = messages %}{% endif %}{% for m in rest %}" +
  "{{ ('<<' + s + '>>\n' if loop.first and s is defined else '') + m.content.strip() }}[{{ loop.index }}]{% endfor %}";

async function templates(chatTemplate: string) {
  const base = await openCheckpoint(
    memoryFileTree(
      { "config.json": utf8('{"model_type":"llama"}'), "model.safetensors": encodeSafetensors([]) },
      "folder",
    ),
  );
  const checkpoint = withAdapterText(base, { chatTemplate });
  return { inserting: await loadChatTemplate(checkpoint), direct: await loadDirectTemplate(checkpoint) };
}

const message = fc.record({
  role: fc.constantFrom("system", "user", "assistant"),
  content: fc.string({ unit: "grapheme" }),
});
const conversation = fc.array(message, { minLength: 1, maxLength: 5 });

describe("a template that came with a bundle", () => {
  it.each([CHATML, TRIMMING, SYSTEM_FIRST])("writes what Jinja writes: %s", async (source) => {
    const { inserting, direct } = await templates(source);
    fc.assert(
      fc.property(conversation, (messages) => {
        // JavaScript's trim knows U+FEFF, Python's does not, and NEL the other way round.
        fc.pre(messages.every(({ content }) => !/[\ufeff\x85]/.test(content)));
        expect(inserting.render(messages)).toBe(direct.render(messages));
      }),
      { numRuns: process.env.SLOW ? 5000 : 300 },
    );
  });

  it("writes prompts whose length is that of the messages, whatever they say", async () => {
    const x = (n: string) => `{% for i in range(${n}) %}x{% endfor %}`;
    const sources = [
      `{% for m in messages %}{{ m.content }}{% if 'secret' in m.content %}${x("999")}{% endif %}{% endfor %}`,
      `{% for m in messages %}{{ m.content }}${x("m.content | length")}{% endfor %}`,
      `{% for m in messages %}{{ m.content }}{% if m.content == 's' %}${x("9")}{% endif %}{% endfor %}`,
    ];
    for (const source of sources) {
      const { inserting, direct } = await templates(source);
      const lengths = (template: typeof direct) =>
        ["secret", "public", "s", "p"].map(
          (content) => template.render([{ role: "user", content }]).length - content.length,
        );
      // The attack works on the template itself, so the test would see it.
      expect(new Set(lengths(direct)).size, source).toBeGreaterThan(1);
      expect(new Set(lengths(inserting)).size, source).toBe(1);
    }
  });

  it("is refused where it changes what messages say, and says nothing of them", async () => {
    for (const source of [
      "{% for m in messages %}{{ m.content[2:4] }}{% endfor %}",
      "{% for m in messages %}{{ m.content | replace('\ue8f1', '') }}{% endfor %}",
      "\ue8f07\ue8f1",
    ]) {
      const { inserting } = await templates(source);
      const render = (): unknown => inserting.render([{ role: "user", content: "confidential" }]);
      expect(render, source).toThrow(expect.objectContaining({ code: "bad_bundle" }));
      expect(render).not.toThrow(/confidential/);
    }
  });

  it("takes marks in a message for text", async () => {
    const { inserting } = await templates(CHATML);
    const messages: ChatMessage[] = [
      { role: "user", content: "\ue8f01\ue8f1 $1 $&" },
      { role: "user", content: "second" },
    ];
    expect(inserting.render(messages, { addGenerationPrompt: false })).toBe(
      "<|im_start|>user\n\ue8f01\ue8f1 $1 $&<|im_end|>\n<|im_start|>user\nsecond<|im_end|>\n",
    );
  });
});
