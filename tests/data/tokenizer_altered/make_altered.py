"""Alters tokenizer.json files at random and records what the package `tokenizers` makes of random texts.

python3 make_altered.py SEED COUNT OUT [--files FILE ...] [--configs COUNT]

SEED and COUNT say which and how many altered files; the same two give the same files. OUT gets one JSON object:
  bases    name to what of tokenizer.json is altered: one of its own, or {"file": folder under tests/data}
  cases    {"base", "parts": put over the base (`model`: key by key), "config": tokenizer_config.json or absent,
            "rows": [[text, ids, decoded text, the same without special tokens], ...]}; ids null: the package fails on the
            text; decoded text null: it fails to decode
--files alters these tokenizer.json files too. --configs adds cases with a tokenizer_config.json beside the file, which
the package `transformers` reads. Needs tokenizers 0.23.3; sentencepiece for the normaliser Precompiled; transformers
for --configs. Set RUST_BACKTRACE=0 and throw stderr away: where the package fails, it says so there.
"""
import argparse
import base64
import copy
import io
import json
import os
import pathlib
import random
import tempfile

from tokenizers import Tokenizer

here = pathlib.Path(__file__).resolve().parent
parser = argparse.ArgumentParser()
parser.add_argument("seed", type=int)
parser.add_argument("count", type=int)
parser.add_argument("out")
parser.add_argument("--files", nargs="*", default=[])
parser.add_argument("--configs", type=int, default=0)
parser.add_argument("--rows", type=int, default=6)
options = parser.parse_args()
rng = random.Random(options.seed)
one = rng.choice


def maybe(chance):
    return rng.random() < chance


def some(choices, least, most):
    return [one(choices) for _ in range(rng.randint(least, most))]


# ---- the files that are altered ----

letters = [chr(c) for c in range(33, 127)] + ["\u2581", " ", "é", "<unk>", "日"]
joined = ["ab", "abc", "\u2581a", "\u2581ab", "bc", "12", "--", "\u2581\u2581", " a", "aa", "000", "\u2581the", "xy"]
merges = ["a b", "ab c", "\u2581 a", "\u2581 ab", "b c", "1 2", "- -", "\u2581 \u2581", "a a", "0 0", "00 0", "x y"]
bytes_ = [f"<0x{b:02X}>" for b in range(256)]
vocab = {t: i for i, t in enumerate(letters + joined + bytes_ + ["00"])}
empty = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
         "post_processor": None, "decoder": None}
bpe = dict(empty, model={"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                         "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": merges})
pieces = ["<unk>", "<s>", "</s>", "\u2581", "\u2581a", "\u2581the", "\u2581kite", "ab", "abc", "bc", "a", "b", "c", "t", "he", "the",
          "1", "0", "00", "000", "12", "é", "日", "日本", "fi", " ", "\n", "xy", "x", "\u2581x", "--", "-", "TM", "Ġ", "Ġa", "Ġthe"]
# halves and quarters: sums that are equal are met, and are exact
unigram = dict(empty, model={"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab":
                             [[p, 0.0 if p in ("<unk>", "<s>", "</s>") else -rng.randint(1, 24) / 4] for p in pieces]})
unigram_bytes = copy.deepcopy(unigram)
unigram_bytes["model"]["vocab"] += [[b, -20.0] for b in bytes_]
bases = {"bpe": bpe, "unigram": unigram, "unigram_bytes": unigram_bytes}
written = dict(bases)
for folder in ("tokenizer_byte_level", "tokenizer_stories260K"):
    bases[folder] = json.loads((here.parent / folder / "tokenizer.json").read_text())
    written[folder] = {"file": folder}
for path in options.files:
    bases[path] = json.loads(pathlib.Path(path).read_text())
    written[path] = {"path": path}


def charsmaps():
    """What SentencePiece makes of four rules, and, beside --files, its own tables."""
    import sentencepiece
    with tempfile.TemporaryDirectory() as folder:
        rules = pathlib.Path(folder) / "rules.tsv"
        rules.write_text("AB\t61\nE9\t65 301\n41\t61\n2122\t54 4D\nFB01\t66 69\n300\t\n65 301\tE9\n", encoding="utf-8")
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the kite flies over the sea and the hill"] * 20), model_writer=model, vocab_size=18,
            normalization_rule_tsv=str(rules), minloglevel=2)
        from sentencepiece import sentencepiece_model_pb2
        proto = sentencepiece_model_pb2.ModelProto()
        proto.ParseFromString(model.getvalue())
        tables = [proto.normalizer_spec.precompiled_charsmap]
    if options.files:
        tables += [p.read_bytes() for p in sorted((pathlib.Path(sentencepiece.__file__).parent / "package_data").glob("*.bin"))]
    return [base64.b64encode(t).decode() for t in tables]


charsmap = charsmaps()

# ---- what they are altered by ----

patterns = [r"(?=(\d{3})+(?!\d))", r"\d{1,3}(?=(\d{3})*\b)", r"x*", r"", r"a?", r"b|", r"|b", r"\b", r"\B", r"^", r"$", r"(?<=a)", r"(?=b)",
            r"(?!a)", r"\s*", r"\s+", r"a+?", r"\w+|[^\w\s]+", r"\p{N}", r"[^\s\p{L}\p{N}]+", r"(?i:AB)", r"\p{Han}|", r".", r"\n*$", r"\h+",
            r" ?\p{L}+| ?\p{N}+|\s+(?!\S)|\s+", r"(?<!\d)(?=\d)", r"a|(?=c)", r"\A.|\z", r"[\b]|\S"]
strings = ["a", " ", "-", "", "ab", "\u2581", "\n", "é", "b ", "..", "日"]
contents = ["", "\u2581", " ", "x", "ab", "--", "a\u0301", "\n"]


def pattern():
    return {"Regex": one(patterns)} if maybe(0.7) else {"String": one(strings)}


def normalizer(deep=0):
    kind = one(["NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "Strip", "Prepend", "Replace", "Replace",
                "Precompiled"] + ["Sequence"] * 4 * (deep == 0))
    out = {"type": kind}
    if kind == "Strip":
        out.update(strip_left=maybe(0.5), strip_right=maybe(0.5))
    if kind == "Prepend":
        out.update(prepend=one(["\u2581", "x", "a ", " "]))
    if kind == "Replace":
        out.update(pattern=pattern(), content=one(contents))
    if kind == "Precompiled":
        out.update(precompiled_charsmap=one(charsmap))
    if kind == "Sequence":
        out.update(normalizers=[normalizer(deep + 1) for _ in range(rng.randint(0, 3))])
    return out


def metaspace():
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": one(["always", "first", "never"]), "split": maybe(0.5)}


def byte_level():
    return {"type": "ByteLevel", "add_prefix_space": maybe(0.5), "trim_offsets": maybe(0.5), "use_regex": maybe(0.5)}


def pre_tokenizer(deep=0, last=True):
    kind = one(["Split"] * 4 + ["Digits", "Metaspace", "WhitespaceSplit"] + ["ByteLevel"] * last + ["Sequence"] * 4 * (deep == 0))
    if kind == "Split":
        return {"type": kind, "pattern": pattern(), "invert": maybe(0.3),
                "behavior": one(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"])}
    if kind == "Digits":
        return {"type": kind, "individual_digits": maybe(0.5)}
    if kind == "Metaspace":
        return metaspace()
    if kind == "ByteLevel":
        return byte_level()
    if kind == "Sequence":
        count = rng.randint(0, 3)
        return {"type": kind, "pretokenizers": [pre_tokenizer(deep + 1, i == count - 1) for i in range(count)]}
    return {"type": kind}


def decoder(deep=0):
    kind = one(["ByteLevel", "ByteFallback", "Fuse", "Strip", "Replace", "Metaspace"] + ["Sequence"] * 4 * (deep == 0))
    out = {"type": kind}
    if kind == "ByteLevel":
        return byte_level()
    if kind == "Metaspace":
        return metaspace()
    if kind == "Strip":
        out.update(content=one(["\u2581", " ", "a"]), start=rng.randint(0, 2), stop=rng.randint(0, 1))
    if kind == "Replace":
        out.update(pattern=pattern(), content=one(contents))
    if kind == "Sequence":
        last = [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}] if maybe(0.3) else []
        out.update(decoders=[decoder(deep + 1) for _ in range(rng.randint(0, 2))] + last)
    return out


def flags(**more):
    return dict({f: maybe(0.3) for f in ("single_word", "lstrip", "rstrip", "normalized", "special")}, **more)


token_texts = ["<x>", "<y>", "<end>", "\n", " ", "\n\n", "ab", "<x", "x><", "é", "Ab", "  ", "\t", "000", "<end>a", "\u2581a", "日"]
new_texts = ["<x>", "<y>", "<end>", "\n\n", "<x", "x><", "Ab", "  ", "\t", "<pad>", "qq", "ab", "a"]


def added(base, texts):
    known = base["model"]["vocab"]
    known = known if isinstance(known, dict) else {p[0]: i for i, p in enumerate(known)}
    out, next_id = [], len(known)
    for text in rng.sample(texts, rng.randint(0, 4)):
        id_ = known.get(text, next_id)
        next_id += id_ == next_id
        out.append(dict({"id": id_, "content": text}, **flags()))
    return out


def alter(base):
    parts, model = {}, {}
    has_words = isinstance(base["model"]["vocab"], dict)
    if maybe(0.5):
        parts["normalizer"] = None if maybe(0.2) else normalizer()
    if maybe(0.6):
        parts["pre_tokenizer"] = None if maybe(0.2) else pre_tokenizer()
    if maybe(0.4):
        parts["decoder"] = None if maybe(0.2) else decoder()
    if maybe(0.5):
        parts["added_tokens"] = added(base, token_texts)
    if maybe(0.2) or "added_tokens" in parts and base["post_processor"]:
        parts["post_processor"] = None if maybe(0.5) else {
            "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "b", "type_id": 0}}] * maybe(0.7)
            + [{"Sequence": {"id": "A", "type_id": 0}}] + [{"SpecialToken": {"id": "b", "type_id": 0}}] * maybe(0.5),
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"b": {"id": "b", "ids": [1], "tokens": ["b"]}}}
    if has_words:
        for flag in ("fuse_unk", "byte_fallback", "ignore_merges"):
            if maybe(0.3):
                model[flag] = maybe(0.5)
        if maybe(0.3):
            model["unk_token"] = "<unk>" if "<unk>" in base["model"]["vocab"] else None
    else:
        if maybe(0.2):
            model["unk_id"] = one([None, 0, 3, 10])
        if maybe(0.4):
            model["byte_fallback"] = maybe(0.6)
    if model:
        parts["model"] = model
    return parts


def put(base, parts):
    out = dict(base)
    for key, value in parts.items():
        out[key] = dict(base[key], **value) if key == "model" else value
    return out


fragments = ["a", "b", "c", "ab", "abc", "the", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "1", "12", "1000000", "123.5", "-", "--", "é", "e\u0301",
             "ﬁ", "™", "½", "ｱ", "日本", "語", "😀", "\u2581", "\u00a0", "\u3000", "İ", "A", "AB", "<x>", "<y>", "<end>", "<end>\n", "x", "xy", "kite",
             ".", "...", "'s", "<unk>", "</s>", "<0x41>", "\u0001", "\u200b", "한", "\u1112\u1161\u11ab", "a\u0300\u0301", "Ⓐ", "_", "qq", "<pad>", "Ab",
             "\u0300", "«", "ab<x>ab", "the kite", "000"]


def text():
    return "".join(some(fragments, 0 if maybe(0.05) else 1, 9))


def fails(call):
    try:
        return call()
    except BaseException as error:   # the package panics on some texts
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def rows_of(make, encode, decode):
    out, tokenizer = [], make()
    for _ in range(options.rows):
        given = text()
        ids = fails(lambda: encode(tokenizer, given))
        out.append([given, ids] + [None if ids is None else fails(lambda: decode(tokenizer, ids, skip)) for skip in (False, True)])
        if None in out[-1]:   # what comes after a panic is not what it would be
            tokenizer = make()
    return out


cases, refused = [], 0
while len(cases) < options.count:
    name = one(list(bases))
    parts = alter(bases[name])
    file = json.dumps(put(bases[name], parts))
    if fails(lambda: Tokenizer.from_str(file)) is None:
        refused += 1
        continue
    rows = rows_of(lambda: Tokenizer.from_str(file), lambda t, s: t.encode(s).ids,
                   lambda t, i, s: t.decode(i, skip_special_tokens=s))
    cases.append({"base": name, "parts": parts, "rows": rows})


# ---- files beside it ----

def listed(text_, **more):
    return dict({"content": text_}, **flags(**more))


def config_of(base):
    """added_tokens_decoder lists what tokenizer.json has and more, with the ids that they get."""
    vocabulary = base["model"]["vocab"]
    known = vocabulary if isinstance(vocabulary, dict) else {p[0]: i for i, p in enumerate(vocabulary)}
    ids = {t["content"]: t["id"] for t in base["added_tokens"]}
    out, texts = {}, []
    if maybe(0.6):
        tokens = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in base["added_tokens"]}
        for token in tokens.values():
            if maybe(0.2):
                token.update(flags())
        next_id = max([len(known)] + [i + 1 for i in ids.values()])
        for content in rng.sample(new_texts, rng.randint(0, 3)):
            if content in ids:
                continue
            id_ = known.get(content, next_id)
            next_id += id_ == next_id
            tokens[str(id_)] = listed(content)
            texts.append(content)
        out["added_tokens_decoder"] = dict(sorted(tokens.items(), key=lambda item: rng.random()))
    have = list(ids) + texts + (["a", "ab"] if "ab" in known else [])
    for key in rng.sample(["bos_token", "pad_token", "unk_token", "cls_token", "sep_token", "mask_token", "image_token"], rng.randint(0, 4)):
        out[key] = one(new_texts + have)
    if have and maybe(0.6):
        out["eos_token"] = one(have)
    if maybe(0.4):
        out["additional_special_tokens" if maybe(0.6) else "extra_special_tokens"] = rng.sample(new_texts, rng.randint(0, 3))
    return out


def with_config(base, config):
    from transformers import PreTrainedTokenizerFast
    with tempfile.TemporaryDirectory() as folder:
        for file, value in (("tokenizer.json", base), ("tokenizer_config.json", config)):
            (pathlib.Path(folder) / file).write_text(json.dumps(value))
        return PreTrainedTokenizerFast.from_pretrained(folder)


os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
failed = 0
while len(cases) < options.count + options.configs:
    name = one(["bpe", "unigram", "tokenizer_stories260K", "tokenizer_byte_level"])
    parts = {"added_tokens": added(bases[name], token_texts), "post_processor": None}
    if maybe(0.3):
        parts["normalizer"] = normalizer()
    base = put(bases[name], parts)
    config = config_of(base)
    if fails(lambda: with_config(base, config)) is None:
        failed += 1
        continue
    rows = rows_of(lambda: with_config(base, config), lambda t, s: t.encode(s, add_special_tokens=False),
                   lambda t, i, s: t._tokenizer.decode(i, skip_special_tokens=s))
    cases.append({"base": name, "parts": parts, "config": config, "rows": rows})

lines = ",\n".join(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases)
pathlib.Path(options.out).write_text('{"bases": ' + json.dumps(written, separators=(",", ":")) + ',\n"cases": [\n' + lines + "\n]}\n")
print(f"{len(cases)} cases, of which the package fails on "
      f"{sum(row[1] is None for case in cases for row in case['rows'])} texts; {refused} files refused, {failed} configurations")
