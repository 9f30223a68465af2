"""Trains the tokeniser of this folder and records what the package `tokenizers` makes of texts. Run: python3 make.py"""
import copy
import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

here = pathlib.Path(__file__).parent
text = """
Once there was a small boat that wanted to learn the names of all the winds. The north wind said: you'll need patience.
The south wind didn't say anything; it blew 12 or 345 leaves across the water, and they'd not come back.
def blow(wind, times=3):
    for i in range(times):
        print(f"{wind} blows {i + 1} of {times}")
    return {"wind": wind, "times": times}

int main() { for (int i = 0; i < 10; ++i) { sum += values[i] * 2.5; } return 0; }
Question: which wind is the coldest?   Answer: the north wind, we're sure.
Der Südwind weht über die Wälder. Le vent du nord souffle, l'été est passé. El niño cogió la ola.
Ветер дует с моря. Северный ветер холодный. 風が吹いています。風は海から来ます。北风很冷。바람이 분다.
The boat's sail was made of 1,000 threads, each 0.75 m long. It isn't much, I've been told, but it'll hold!
\tTabs\tand\n\n\nblank lines, and trailing spaces   \nare part of it. Emoji too: 😀 🚀 ⛵
"""
texts = [
    "", " ", "  ", "   ", "\n", "\t", "\n\n", "a", " a", "a ", "  a  b  ", "The north wind", " the north wind ",
    "I'LL don't we're it's THEY'D 'tis \u017fo'\u017f", "12345.67 1,000 ½ ² Ⅷ ① 1\u0663\u0664", "a\n\n b\r\n\tc   ", "été e\u0301te\u0301",
    "\u1112\u1161\u11ab \ud55c\u11ab", "が\u3099 か\u3099 \u0928\u093c", "q\u0307\u0323 q\u0323\u0307 a\u0315\u0300\u05ae\u0062",
    "def f(x):\n    return x+1\n", "<|begin|>twice", "<|user|>\nhi<|end|>\n<|assistant|>\nhello<|end|>\n", "<|user|><|user|>  x",
    "a <|pad|> b", "a<|tool|>b <|tool|> c", "<|us", "<|end|", "wordwind word wind word", "風が吹いています。北风 바람이", "😀🚀 👩‍👩‍👧 ⛵\ufe0f", "\ufeffbom",
    "\x00\x01\x7f\x85\u00a0\u1680\u180e\u2003\u2028\u3000x", "x\u180e\u180ey", "!!! ... --- ??? #$%", "https://example.org/a?b=c&d=1", "{\"a\": [1, 2, {\"b\": null}]}",
    "ﬁne Ångström Å Ω", "नमस्ते दुनिया", "สวัสดีชาวโลก", "שלום עולם مرحبا", "\U0001d552\U0001d553 \U0010ffff", "a" * 80, "ab" * 60 + " " * 40 + "c",
    "The boat's sail was made of 1,000 threads, each 0.75 m long.", "\r\n\r\n", "\r", " \n \n x", "word", "words sword word!", "  word  ", "\u00e9word word\u0301",
]


def rows(tokenizer):
    out = []
    for t in texts:
        ids, plain = tokenizer.encode(t).ids, tokenizer.encode(t, add_special_tokens=False).ids
        out.append([t, ids, plain, tokenizer.decode(plain, skip_special_tokens=False), tokenizer.decode(ids)])
    return out


def write(path, value):
    lines = ",\n".join(json.dumps(row, ensure_ascii=True) for row in value)
    path.write_text('{"rows": [\n' + lines + "\n]}\n")


llama3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
tok = Tokenizer(models.BPE())
tok.normalizer = normalizers.NFC()
tok.pre_tokenizer = pre_tokenizers.Sequence([
    pre_tokenizers.Split(Regex(llama3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
tok.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
tok.train_from_iterator(text.splitlines(keepends=True) * 2, trainer)
tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<|begin|>", "<|end|>", "<|user|>", "<|pad|>")])
tok.add_special_tokens([AddedToken("<|assistant|>", special=True, normalized=False, rstrip=True)])
tok.add_tokens([AddedToken("<|tool|>", normalized=False, lstrip=True), AddedToken("word", normalized=True, single_word=True)])
begin = tok.token_to_id("<|begin|>")
tok.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
    single="<|begin|> $A", pair="<|begin|> $A <|begin|>:1 $B:1", special_tokens=[("<|begin|>", begin)])])
tok.save(str(here / "tokenizer.json"), pretty=False)
(here / "tokenizer_config.json").write_text(json.dumps({
    "add_bos_token": True, "bos_token": "<|begin|>", "eos_token": {"content": "<|end|>", "special": True}, "pad_token": "<|pad|>",
    "unk_token": None, "model_max_length": 1e30,
    "chat_template": [{"name": "tools", "template": "{# other #}"},
                      {"name": "default", "template": "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"}],
}, indent=1) + "\n")
write(here / "golden.json", rows(tok))
write(here.parent / "tokenizer_stories260K" / "golden.json",
      rows(Tokenizer.from_file(str(here.parent / "tokenizer_stories260K" / "tokenizer.json"))))

# ---- one component at a time (no Strip with `stop`: the package fails on texts shorter than that) ----
letters = [chr(c) for c in range(33, 127)] + ["\u2581", " ", "é", "<unk>"]
joined = ["ab", "abc", "\u2581a", "\u2581ab", "bc", "12", "--", "\u2581\u2581", " a", "aa"]
vocab = {t: i for i, t in enumerate(letters + joined + [f"<0x{b:02X}>" for b in range(256)])}
merges = ["a b", "ab c", "\u2581 a", "\u2581 ab", "b c", "1 2", "- -", "\u2581 \u2581", "a a"]
base = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
        "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": merges}}
short = ["", "abc", " abc", "ab  12--34 ab", "aé☃☃b☃", "a☃b ☃c", "  a", "\u2581ab a", "ab<x>ab <x> ab", "a<x>b", "x<y>ab", "a\u00a0<y> \u3000ab<y>", "aaaa", "1234", "a--b---c"]


def added(content, **flags):
    entry = {"id": 0, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    entry.update(flags)
    return entry


def metaspace(**f):
    return {"type": "Metaspace", "replacement": "\u2581", **f}


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
cases = [
    {}, {"model": {"unk_token": "<unk>"}}, {"model": {"unk_token": "<unk>", "fuse_unk": True}},
    {"model": {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}}, {"model": {"ignore_merges": True}},
    {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace]}},
    {"normalizer": {"type": "Replace", "pattern": {"Regex": r"\s+|b+"}, "content": "--"}},
    {"pre_tokenizer": {"type": "Digits", "individual_digits": True}}, {"pre_tokenizer": {"type": "Digits", "individual_digits": False}},
    {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True, "trim_offsets": True}},
] + [{"pre_tokenizer": metaspace(prepend_scheme=s, split=b)} for s in ("always", "first", "never") for b in (True, False)] + [
    {"pre_tokenizer": split({"String": "-"}, b, i)}
    for b in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous") for i in (False, True)
] + [{"pre_tokenizer": split({"Regex": r"\w|\s"}, "Contiguous")},
     {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split({"Regex": r"^a|b$"}, "Isolated"), metaspace(prepend_scheme="first", split=True)]}},
     {"decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
                                                   {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}, "model": {"byte_fallback": True}},
     {"decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": "a", "start": 2, "stop": 0}]}, "model": {"byte_fallback": True}},
     {"decoder": {"type": "Strip", "content": "a", "start": 1, "stop": 0}}, {"decoder": metaspace(prepend_scheme="always", split=True), "pre_tokenizer": metaspace(prepend_scheme="always", split=True)},
     {"decoder": metaspace(prepend_scheme="never", split=True), "pre_tokenizer": metaspace(prepend_scheme="never", split=True)}, {"decoder": {"type": "Fuse"}},
     {"decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
] + [{"added_tokens": [added("<x>", **f), added("<y>", lstrip=True), added("x<y>a")]}
     for f in ({}, {"lstrip": True}, {"rstrip": True}, {"lstrip": True, "rstrip": True}, {"single_word": True}, {"normalized": True}, {"special": True})] + [
    {"added_tokens": [added(" 12", normalized=True), added("ab", normalized=True)], "normalizer": replace}]

out = []
for parts in cases:
    settings = copy.deepcopy(base)
    for n, entry in enumerate(parts.get("added_tokens", [])):
        entry["id"] = vocab.get(entry["content"], len(vocab) + n)
    for key, value in parts.items():
        settings[key] = {**settings[key], **value} if key == "model" else value
    t = Tokenizer.from_str(json.dumps(settings))
    out.append({"parts": parts, "rows": [[s, e, t.decode(e, skip_special_tokens=False)] for s in short for e in [t.encode(s).ids]]})
(here / "components.json").write_text('{"base": ' + json.dumps(base) + ',\n"cases": [\n' + ",\n".join(map(json.dumps, out)) + "\n]}\n")
