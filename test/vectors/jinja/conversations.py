"""Conversations, as transformers hands them to a template."""

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def turns(*texts, system=None):
    messages = [] if system is None else [{"role": "system", "content": system}]
    for i, text in enumerate(texts):
        messages.append({"role": "assistant" if i % 2 else "user", "content": text})
    return messages


def case(messages, prompt=True, tools=None, documents=None, **more):
    return {**TOKENS, "messages": messages, "add_generation_prompt": prompt, "tools": tools, "documents": documents, **more}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place; \"now\" <or> later & so on",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "Città, 市"},
                "days": {"type": "integer", "default": 3},
                "unit": {"type": "string", "enum": ["C", "F"]},
                "scale": {"type": "number", "default": 1.5},
            },
            "required": ["place"],
        },
    },
}
CALL = {"id": "call_abc12", "type": "function", "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 1, "exact": True, "none": None}}}
TOOL_TURNS = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "name": "get_weather", "tool_call_id": "call_abc12", "content": "{\"sky\": \"blue\"}"},
    {"role": "tool", "name": "get_weather", "tool_call_id": "call_abc12", "content": "plain"},
    {"role": "assistant", "content": "Blue."},
    {"role": "user", "content": "Thanks"},
]

CONVERSATIONS = {
    "one": case(turns("Hello")),
    "one, no prompt": case(turns("Hello"), prompt=False),
    "several": case(turns("Hello", "Hi there.", "How are you?")),
    "answered": case(turns("Hello", "Hi there."), prompt=False),
    "system": case(turns("Hello", "Hi.", "And?", system="Be brief.")),
    "white space": case(turns("  leading and trailing \n\n", "\n    indented\n\tcode\n", " \u00a0\ufeffodd\u3000\n", system="\n sys \n")),
    "lines": case(turns("a\r\nb\n\nc", "```py\n  x = 1\n\n```\n", "<|im_end|>\n{{ not a tag }}")),
    "thinking": case(turns("q", "<think>\nreason\n</think>\n\n    indented code\n", "next")),
    "thinking off": case(turns("q", "<think>\na\n</think>\n\nb", "next"), enable_thinking=False),
    "thinking on": case(turns("q"), enable_thinking=True),
    "empty texts": case(turns("", "", "")),
    "unicode": case(turns("日本語 😀 naïve İ ß", "ΑΣ", "x")),
    "nothing": case([]),
    "system alone": case([{"role": "system", "content": "Be brief."}]),
    "assistant first": case([{"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Hello"}]),
    "two users": case([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]),
    "unknown role": case([{"role": "critic", "content": "no"}]),
    "parts": case([{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]),
    "no content": case([{"role": "user", "content": None}]),
    "tools": case(turns("Weather?"), tools=[WEATHER]),
    "tools, system": case(turns("Weather?", system="Be brief."), tools=[WEATHER, WEATHER]),
    "tool calls": case(TOOL_TURNS, tools=[WEATHER]),
    "tool calls, no tools": case(TOOL_TURNS),
    "documents": case(turns("Who?"), documents=[{"title": "T1", "text": "One."}, {"title": "T2", "text": "Two."}]),
    "options": case(turns("x", system="s"), date_string="1 Jan 2024", reasoning_effort="high", custom={"a": [1, 2.5]}),
}
