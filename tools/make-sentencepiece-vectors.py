"""Small sentencepiece models, and what the reference implementation makes of hard texts.

    pip install sentencepiece==0.2.2 protobuf
    python tools/make-sentencepiece-vectors.py test/vectors/sentencepiece

The corpus is docs/ as it was then, so that another run gives other models, and as good a check.

Writes NAME.model and NAME.json (texts with their ids; ids with their texts). `--nfkc` adds a model with the
whole nmt_nfkc map (about 240 kB, not committed).
"""
import glob, io, json, pathlib, random, sys
import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb

out = pathlib.Path(sys.argv[1])
corpus = [line.strip() for path in sorted(glob.glob("docs/*.md")) for line in open(path, encoding="utf-8") if len(line) > 20][:600]
corpus += ["我们的模型在用户这里运行，适配器在提供者那里。", "你好，世界！今天天气怎么样？", "[Round 1]\n\n问：你好\n\n答：", "naïve café déjà vu — œuvre", "def f(x):\n    return x  # two"] * 20
rules = out / "rules.tsv"
# code points in hexadecimal: fullwidth A and B, the ligature fi, a full-width space, the soft hyphen (deleted), e + acute
rules.write_text("FF21\t41\nFF22\t42\nFB01\t66 69\n3000\t20\nAD\t\n65 301\tE9\n2460\t28 31 29\n9\t20\n")

COMMON = dict(minloglevel=2, character_coverage=0.98, num_threads=1, hard_vocab_limit=False)
LLAMA = dict(normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True, split_digits=True, allow_whitespace_only_pieces=True)
SPECS = {
    "bpe-bytes": dict(model_type="bpe", vocab_size=700, user_defined_symbols=["<tag>", "▁▁▁", "tag>x"], **LLAMA),
    "bpe-plain": dict(model_type="bpe", vocab_size=420, normalization_rule_tsv=str(rules)),
    "unigram-rules": dict(model_type="unigram", vocab_size=420, normalization_rule_tsv=str(rules), user_defined_symbols=["<tag>", "er", "ＡＢ"]),
    "unigram-bytes": dict(model_type="unigram", vocab_size=700, add_dummy_prefix=False, **LLAMA),
}
if "--nfkc" in sys.argv:
    SPECS["nfkc"] = dict(model_type="unigram", vocab_size=420, normalization_rule_name="nmt_nfkc")

TEXTS = [
    "", " ", "   ", "a", " a", "a ", "  two  spaces  inside  ", "\ttab\nnewline\r\n", "hello world", "private",
    "the the the provider’s adapters are served", "a<tag>b <tag><tag>", "<tag", "tag>x", "<tag>x", "<s></s><unk>", "<0x41>", "▁mark▁", "▁▁▁▁▁", "1234567890 3.14e-5",
    "你好，世界", "我们的模型 and 適配器", "😀👩‍👩‍👧 é é", "naïve café", "\u0000\u0001", "\ufeffbom", "ﬁne ＡＢ ＡＢＡ\u3000\u3000x\u00ad\u00adsoft\u00ad", "\u00ad", "\u00ad ", "①②", "e\u0301e\u0301\u0301",
    "[Round 1]\n\n问：{q}\n\n答：", "    indented\n        more", "x" * 300, "ab" * 200 + " " * 50, "퟿ 𝕳𝖊𝖑𝖑𝖔 \U0010ffff", "providerproviderprovider", "aaaa bbbb" * 9, "ererer",
]
rng = random.Random(7)
ALPHABET = list("abeirt  .,<>tag▁é你的模") + ["😀", "<tag>", "▁▁▁", "provider", "the", "ing", "ＡＢ", "\u00ad", "e\u0301", "\n"]
TEXTS += ["".join(rng.choice(ALPHABET) for _ in range(rng.randrange(1, 60))) for _ in range(120)]
TEXTS += [line[: rng.randrange(20, 120)] for line in rng.sample(corpus, 20)]

def unused(model):
    """Every fifth piece of two or more letters is switched off: it is found and taken apart again."""
    proto = pb.ModelProto.FromString(model)
    count = 0
    for piece in proto.pieces:
        if piece.type == 1 and len(piece.piece) > 1:
            count += 1
            if count % 5 == 0:
                piece.type = 5
    return proto.SerializeToString()

for name, spec in SPECS.items():
    buffer = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=buffer, **COMMON, **spec)
    for suffix, model in ((name, buffer.getvalue()), (name + "-unused", unused(buffer.getvalue()))):
        if suffix in ("bpe-plain-unused", "unigram-rules-unused", "nfkc-unused"):
            continue
        sp = spm.SentencePieceProcessor(model_proto=model)
        ids = [[rng.randrange(sp.vocab_size()) for _ in range(rng.randrange(1, 12))] for _ in range(60)]
        # Bytes that are not UTF-8 are left out: implementations differ in how many U+FFFD they write.
        ids = [row for row in ids if "\ufffd" not in sp.decode(row)]
        (out / (suffix + ".model")).write_bytes(model)
        cases = {
            "encode": [[text, sp.encode(text)] for text in TEXTS],
            "decode": [[row, sp.decode(row)] for row in ids + [sp.encode(text) for text in TEXTS]],
        }
        (out / (suffix + ".json")).write_textjson.dumps(cases, ensure_ascii=True, separators=(",", ":")))
        print(suffix, sp.vocab_size(), len(model), len(cases["decode"]))
rules.unlink()
