"""What the pieces of a vocabulary stand for, whatever kind of tokenizer it belongs to."""

import json
import re

import numpy as np
import numpy.typing as npt
import regex
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_INSIDE = regex.compile(r"[\p{L}\p{M}\p{N}\u200C\u200D\uFFFD]")  # joiners shape letters; U+FFFD: less than a character


def spellings(tokenizer: PreTrainedTokenizerBase) -> list[bytes | None]:
    """What each id stands for, in UTF-8 and with a space in front where a word begins; None for special tokens.

    Knows the marks of SentencePiece (▁), of byte-level vocabularies (Ġ), of WordPiece (##) and a plain space.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    inside = state["model"].get("continuing_subword_prefix") if state["model"]["type"] == "WordPiece" else None
    byte_level = '"ByteLevel"' in json.dumps([state["pre_tokenizer"], state["decoder"]])
    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}

    def spelling(piece: str) -> bytes:
        if found := _BYTE.fullmatch(piece):
            return bytes.fromhex(found[1])
        if inside:
            piece = piece.removeprefix(inside) if piece.startswith(inside) else f" {piece}"
        if byte_level and all(character in byte_of for character in piece):
            return bytes(byte_of[character] for character in piece)
        return piece.replace("▁", " ").encode()

    vocabulary = tokenizer.get_vocab()
    spelled: list[bytes | None] = [None] * (1 + max(vocabulary.values()))
    for piece, i in vocabulary.items():
        if i not in tokenizer.all_special_ids:
            spelled[i] = spelling(piece)
    return spelled


def word_beginnings(tokenizer: PreTrainedTokenizerBase) -> npt.NDArray[np.bool_]:
    """Whether each id begins a word, as against going on with the one before it: shape (ids,).

    Words begin with a space, and so does, as a word of its own, what is no letter, mark or digit; a part of a
    character's bytes goes on. Special tokens stand for themselves.
    """
    texts = [b" " if spelling is None else spelling for spelling in spellings(tokenizer)]
    return np.array([not _INSIDE.match(text.decode("utf-8", "replace")) for text in texts])
