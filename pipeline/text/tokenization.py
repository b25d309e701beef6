"""Subword tokenizers for any script: how text is cut into words, and how a vocabulary is learned from them.

Whatever the algorithm, a tokenizer here is one fast ``tokenizers`` object made of

- a normalizer: NFC, and nothing else;
- a pre-tokenizer: every line gets one space in front, so that a word has one form wherever it stands, and is
  cut into words, numbers and runs of punctuation. A word's space belongs to its first piece, which is how word
  starts are recognised. Marks stay with what they modify: the pattern knows letters *and marks*, where ``\\w``
  and the pattern of GPT-2 cut before every vowel sign of an Indic script;
- a model with a byte for whatever it never saw, so that no text is ever unknown;
- a decoder that undoes all of it: ``decode(encode(x)) == NFC(x)`` for every string.

Vocabularies are learned over grapheme clusters (UAX #29, Indic conjuncts whole) in place of code points, so
that pieces begin and end where readers see a boundary; code points and bytes only spell what is rare.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import regex
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from pipeline.errors import UsageError

Algorithm = Literal["unigram", "bpe", "wordpiece", "sentencepiece-unigram", "sentencepiece-bpe"]

UNKNOWN = "[UNK]"
SPECIAL = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
FIXED = len(SPECIAL) + len(BYTES)

_MARK = r"\p{M}\x{200C}\x{200D}"  # ZWNJ and ZWJ shape the letters beside them
# Lengths are bounded, because time and memory are not linear in them: no word is that long, and no base has more than
# 30 marks (UAX #15, Stream-Safe Text). The Tibetan tsheg joins syllables.
_LETTERS = rf"\p{{L}}[\p{{L}}{_MARK}\x{{0F0B}}]{{0,126}}[{_MARK}]{{0,30}}"
_WORD_PATTERN = "|".join(
    (
        rf" ?{_LETTERS}(?:['’·׳״]{_LETTERS}){{0,15}}",  # go'aan, l·l, צה״ל
        rf" ?(?:\p{{Nd}}[{_MARK}]{{0,30}}){{1,4}}",  # a year is one number; a suffix glued to it is another word
        rf" ?[^\s\p{{L}}\p{{Nd}}]{{1,64}}[{_MARK}]{{0,30}}",
        r" ?\n",
        r" {1,64}(?= )|[^\S\n]",
    )
)
_CLUSTER = regex.compile(r" \n|\X")
_FIRST_PRIVATE = 0xF0000  # planes 15 and 16 name the clusters of several code points while a vocabulary is learned
_MOST_WORDS = 5_000_000  # different words held at once: about 1 GB


def skeleton(model: models.Model) -> Tokenizer:
    """``model`` with the normalizer, pre-tokenizer, decoder and special tokens of every tokenizer here."""
    byte_level = isinstance(model, models.WordPiece)  # the one model without a fallback to bytes: it sees only bytes
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    cuts = [
        pre_tokenizers.Split("\n", "isolated"),
        pre_tokenizers.Split(Regex(r"\A +(?=[^ ])"), "isolated"),  # else these would pass for the space in front
        pre_tokenizers.Metaspace(" ", "always", split=False),
        pre_tokenizers.Split(Regex(_WORD_PATTERN), "isolated"),
    ]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts + ([_byte_level()] if byte_level else []))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteLevel() if byte_level else decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Replace(" \n", "\n"),
            decoders.Replace(Regex(r"^ (?= *[^ \n])"), ""),
        ]
    )
    # the spaces around a mask are part of it, so that it stands for a word as training hides it
    tokenizer.add_special_tokens(
        [AddedToken(t, normalized=False, lstrip=t == "[MASK]", rstrip=t == "[MASK]") for t in SPECIAL]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _byte_level() -> pre_tokenizers.ByteLevel:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def count_words(texts: Iterable[str]) -> tuple[Counter[str], int]:
    """Pre-tokens of ``texts`` with their counts, and the number of whitespace words.

    Stretches between spaces are counted first and cut afterwards, once each: cutting does not look past a
    space. Memory is bounded: where there are too many different ones, those seen once so far are forgotten.
    """
    normalize = normalizers.NFC().normalize_str
    stretches: Counter[str] = Counter()
    total = line_ends = 0
    for text in texts:
        found = normalize(text).split()
        total += len(found)
        line_ends += text.count("\n")
        stretches.update(found)
        if len(stretches) > _MOST_WORDS:
            stretches = Counter({word: count for word, count in stretches.items() if count > 1})
    cut = skeleton(models.BPE()).pre_tokenizer.pre_tokenize_str
    words: Counter[str] = Counter({" \n": line_ends, " ": line_ends} if line_ends else {})
    for stretch, count in stretches.items():
        for word, _ in cut(stretch):
            words[word] += count
    return words, total


def train(words: Counter[str], algorithm: Algorithm, size: int) -> Tokenizer:
    """A tokenizer with at most ``size`` entries, special tokens and bytes among them, learned from word counts.

    It has fewer where the words do not support as many: compare ``get_vocab_size()``. The same words and size
    give the same tokenizer, but for ``unigram``: the trainer of ``tokenizers`` takes words in the order of a hash table
    that is seeded anew each time, in one thread too, and no setting of it changes that.
    """
    if size < FIXED + 100:
        raise UsageError(f"tokenizer.vocab_size is {size}: {FIXED} entries are fixed, so give at least {FIXED + 100}")
    alphabet = Alphabet(words, size - FIXED)
    if not alphabet.clusters:
        raise UsageError("there is too little text to learn a tokenizer from: add some (corpus.extra)")
    model: models.Model
    match algorithm:
        case "unigram":
            model = _unigram(alphabet, size, _tokenizers_unigram)
        case "sentencepiece-unigram":
            model = _unigram(alphabet, size, _sentencepiece_unigram)
        case "bpe":
            model = _bpe(words, alphabet, size, _tokenizers_merges)
        case "sentencepiece-bpe":
            model = _bpe(words, alphabet, size, _sentencepiece_merges)
        case "wordpiece":
            model = _wordpiece(alphabet, size)
    return skeleton(model)


class Alphabet:
    """What a vocabulary of ``room`` entries starts from: the frequent grapheme clusters and code points of ``words``.

    What is rarer than one in a million is left to code points, and these to bytes. Where a language has more
    signs than that (Han, Hangul), the most frequent take half of the room, and code points a quarter.
    """

    def __init__(self, words: Counter[str], room: int) -> None:
        self.words = words
        clusters: Counter[str] = Counter()
        for word, count in words.items():
            for cluster in _CLUSTER.findall(word):
                clusters[cluster] += count
        characters: Counter[str] = Counter()
        for cluster, count in clusters.items():
            for character in cluster:
                characters[character] += count
        self.clusters = _frequent(clusters, room // 2)
        self.characters = _frequent(characters, room // 4)


def _frequent(counts: Counter[str], most: int) -> dict[str, int]:
    least = max(2, counts.total() // 1_000_000)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {sign: count for sign, count in ranked[:most] if count >= least and ord(sign[0]) < _FIRST_PRIVATE}


class _Named:
    """``words`` with each unit of spelling as one character, and the way back from pieces of them.

    ``spell`` gives the units of a grapheme cluster. Where it gives None the word is split: nothing is learned
    across what no piece can hold.
    """

    def __init__(self, words: Counter[str], spell: Callable[[str], list[str] | None]) -> None:
        name: dict[str, str] = {}
        self._back: dict[int, str] = {}
        self.words: Counter[str] = Counter()
        for word, count in sorted(words.items()):
            parts = [""]
            for cluster in _CLUSTER.findall(word):
                units = spell(cluster)
                if units is None:
                    parts.append("")
                    continue
                for unit in units:
                    if unit not in name:
                        # SentencePiece has uses of its own for some block elements
                        plain = len(unit) == 1 and not "\u2580" <= unit < "\u25a0"
                        name[unit] = unit if plain else chr(_FIRST_PRIVATE + len(self._back))
                        if not plain:
                            self._back[ord(name[unit])] = unit
                    parts[-1] += name[unit]
            for part in filter(None, parts):
                self.words[part] += count

    def back(self, piece: str) -> str:
        return piece.translate(self._back)


def _whole(alphabet: Alphabet) -> _Named:
    return _Named(alphabet.words, lambda cluster: [cluster] if cluster in alphabet.clusters else None)


def _unigram(
    alphabet: Alphabet, size: int, learn: Callable[[Counter[str], int], list[tuple[str, float]]]
) -> models.Unigram:
    """Kudo, "Subword Regularization", ACL 2018. Code points that are no cluster of their own are a last resort."""
    named = _whole(alphabet)
    spelling = [c for c in alphabet.characters if c not in alphabet.clusters]
    learned = learn(named.words, size - FIXED - len(spelling))
    pieces = sorted(((named.back(piece), score) for piece, score in learned), key=lambda item: (-item[1], item[0]))
    last = min(score for _, score in pieces) - 10
    vocabulary = [*((t, 0.0) for t in SPECIAL + BYTES), *pieces, *((c, last) for c in spelling)]
    return models.Unigram(vocabulary, unk_id=SPECIAL.index(UNKNOWN), byte_fallback=True)


def _tokenizers_unigram(words: Counter[str], size: int) -> list[tuple[str, float]]:
    return [
        (piece, score) for piece, score in _learned(models.Unigram(), trainers.UnigramTrainer, words, size)["vocab"]
    ]


def _sentencepiece_unigram(words: Counter[str], size: int) -> list[tuple[str, float]]:
    return _sentencepiece(words, "unigram", size)


def _bpe(
    words: Counter[str],
    alphabet: Alphabet,
    size: int,
    learn: Callable[[Counter[str], int], list[tuple[str, str]]],
) -> models.BPE:
    """Sennrich et al., ACL 2016, in two passes: merges inside grapheme clusters come before all that join them.

    A merge inside a cluster needs its intermediate steps as entries, which the first pass keeps few.
    """
    known = Counter({c: n for c, n in alphabet.clusters.items() if set(c) <= alphabet.characters.keys()})
    inside = _tokenizers_merges(known, (size - FIXED) // 2)
    vocabulary = dict.fromkeys((*SPECIAL, *BYTES, *alphabet.characters, *(left + right for left, right in inside)))
    spelled = Tokenizer(models.BPE({piece: i for i, piece in enumerate(vocabulary)}, inside))
    units = {c: [token.value for token in spelled.model.tokenize(c)] for c in known}
    named = _Named(words, units.get)
    joining = [(named.back(left), named.back(right)) for left, right in learn(named.words, size)]
    for left, right in joining:
        if len(vocabulary) < size:
            vocabulary[left + right] = None
    merges = [pair for pair in dict.fromkeys(inside + joining) if {*pair, "".join(pair)} <= vocabulary.keys()]
    numbered = {piece: i for i, piece in enumerate(vocabulary)}
    return models.BPE(numbered, merges, unk_token=UNKNOWN, byte_fallback=True)


def _tokenizers_merges(words: Counter[str], size: int) -> list[tuple[str, str]]:
    return [
        (left, right)
        for left, right in _learned(models.BPE(), trainers.BpeTrainer, words, size, min_frequency=2)["merges"]
    ]


def _sentencepiece_merges(words: Counter[str], size: int) -> list[tuple[str, str]]:
    """SentencePiece joins any neighbours that make up a piece, the earliest learned piece first."""
    pieces = [piece for piece, _ in _sentencepiece(words, "bpe", size)]
    known = set(pieces)
    return [
        (piece[:i], piece[i:])
        for piece in pieces
        for i in range(1, len(piece))
        if piece[:i] in known and piece[i:] in known
    ]


def _wordpiece(alphabet: Alphabet, size: int) -> models.WordPiece:
    """Longest match first, over bytes: the model knows no fallback, so its alphabet is one that nothing escapes.

    No prefix marks pieces inside a word: a space marks those that begin one, as everywhere here. The longest match may
    end before a mark, where the next piece does not begin with a cluster: docs/text.md.
    """
    named = _whole(alphabet)
    learned = _learned(
        models.WordPiece(unk_token=UNKNOWN),
        trainers.WordPieceTrainer,
        named.words,
        size,
        min_frequency=2,
        continuing_subword_prefix="",
    )
    as_bytes = _byte_level().pre_tokenize_str
    pieces = [as_bytes(named.back(piece))[0][0] for piece in sorted(learned["vocab"], key=learned["vocab"].get)]
    spelling = [as_bytes(character)[0][0] for character in alphabet.characters]
    vocabulary = list(dict.fromkeys([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *spelling, *pieces]))[
        :size
    ]
    return models.WordPiece(
        {piece: i for i, piece in enumerate(vocabulary)},
        unk_token=UNKNOWN,
        continuing_subword_prefix="",
        max_input_chars_per_word=1 << 16,
    )


def _learned(model: models.Model, trainer: Any, words: Counter[str], size: int, **settings: Any) -> dict[str, Any]:
    """What a trainer of ``tokenizers`` makes of ``words``: the model's JSON.

    It counts for itself, so words are repeated, at most 1,000 times at once: it takes 110 bytes for each.
    """
    tokenizer = Tokenizer(model)
    tokenizer.train_from_iterator(
        ([word] * min(count - done, 1000) for word, count in sorted(words.items()) for done in range(0, count, 1000)),
        trainer(vocab_size=size, special_tokens=[], show_progress=False, **settings),
    )
    learned: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    return learned


def _sentencepiece(words: Counter[str], kind: str, size: int) -> list[tuple[str, float]]:
    """Pieces and their scores in order of identity, learned by SentencePiece from ``word <tab> count`` lines."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "words.tsv")
        table.write_text("".join(f"{word}\t{count}\n" for word, count in sorted(words.items())), "utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(table),
            input_format="tsv",
            model_prefix=str(Path(folder, "model")),
            model_type=kind,
            vocab_size=size + 1,  # its <unk>
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_by_whitespace=False,
            split_by_unicode_script=False,
            split_by_number=False,
            max_sentence_length=1 << 16,
            bos_id=-1,
            eos_id=-1,
            num_threads=4,  # fixed: sums of floats depend on it
            minloglevel=2,
        )
        model = sentencepiece.SentencePieceProcessor(model_file=str(Path(folder, "model.model")))
    ids = [i for i in range(model.get_piece_size()) if not model.is_unknown(i)]
    return [(model.id_to_piece(i).replace("▁", " "), model.get_score(i)) for i in ids]


def automatic_size(words: int) -> tuple[int, str]:
    """How many entries a corpus of so many whitespace words gets, and why.

    An entry is learned from the places where it occurs: Gowda and May ("Finding the Optimal Vocabulary Size",
    Findings of EMNLP 2020) want 95 % of a vocabulary to be seen a hundred times. One entry for 64 words, at some
    1.5 tokens a word, gives the average entry that many.
    """
    size = min(max(words // 64 // 64 * 64, 2048), 32768)
    return size, f"one for each 64 of {words:,} words, between 2,048 and 32,768"


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write ``tokenizer`` as a folder that ``AutoTokenizer.from_pretrained`` loads with no code of ours."""
    from transformers import PreTrainedTokenizerFast

    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        **names,
    ).save_pretrained(folder)
