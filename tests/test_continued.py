"""Going on from a model that exists: what is kept, what its new vocabulary is made of, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForMaskedLM, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from pipeline.errors import UsageError
from pipeline.model.checkpoints import MODEL_FILES, folder_of
from pipeline.model.continued import continued
from pipeline.model.new_vocabulary import mixture
from pipeline.text.spelling import spellings
from pipeline.text.tokenization import BYTES, SPECIAL, save, skeleton

FAMILIES = ("bert", "xlm-roberta", "modernbert")
PLACES = 40


def _old_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Knows ` water`, ` fall`, `fall`, `s` and ` river`, spelled as the family spells them."""
    if family == "xlm-roberta":
        names = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
        pieces = [*names.values(), "▁water", "▁fall", "fall", "s", "▁river"]
        inner = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=3))
        inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    else:
        names = {name: f"[{name.upper()}]" for name in ("unk", "cls", "sep", "pad", "mask")}
        if family == "bert":
            pieces = [*names.values(), "water", "fall", "##fall", "##s", "river"]
            inner = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
            inner.pre_tokenizer, inner.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        else:
            merges: list[tuple[str, str]] = []
            for word in ("Ġwater", "Ġfall", "fall", "Ġriver"):
                merges += [(word[:i], word[i]) for i in range(1, len(word))]
            letters = sorted(pre_tokenizers.ByteLevel.alphabet())
            pieces = list(dict.fromkeys([*names.values(), *letters, *("".join(pair) for pair in merges)]))
            inner = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, list(dict.fromkeys(merges))))
            inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, **{f"{name}_token": t for name, t in names.items()})


def _checkpoint(folder: Path, family: str, **more: Any) -> tuple[Any, PreTrainedTokenizerFast]:
    tokenizer = _old_tokenizer(family)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
    places = PLACES + (tokenizer.pad_token_id + 1) * (family == "xlm-roberta")
    config = AutoConfig.for_model(
        family, vocab_size=len(tokenizer), max_position_embeddings=places, **shape, **ids, **more
    )
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config)
    with torch.no_grad():
        model.get_output_embeddings().bias.normal_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval(), tokenizer


NEW = ("s", " river", " water", "fall", " waterfall", " falls", "ଜଳ")


@pytest.fixture(scope="module")
def new_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("new")
    pieces = [*SPECIAL, *BYTES, *NEW]
    save(skeleton(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=1, byte_fallback=True)), folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _tables(model: Any) -> list[torch.Tensor]:
    decoder = model.get_output_embeddings()
    return [table.detach() for table in (model.get_input_embeddings().weight, decoder.weight, decoder.bias)]


@pytest.mark.parametrize("family", FAMILIES)
def test_marks_of_word_starts_are_read_in_every_spelling(family: str, new_tokenizer: Any) -> None:
    assert {b" water", b" fall", b"fall", b"s", b" river"} <= set(spellings(_old_tokenizer(family)))
    assert {b" river", "ଜଳ".encode(), b"\xe0"} <= set(spellings(new_tokenizer))


def test_a_letter_with_a_piece_of_its_own_is_not_taken_for_a_byte_to_fall_back_on(new_tokenizer: Any) -> None:
    weights, _ = mixture(new_tokenizer, new_tokenizer, len(new_tokenizer))
    letter, byte, other = new_tokenizer.convert_tokens_to_ids(["s", "<0x73>", "<0xE0>"])
    assert [weights[i].indices.tolist() for i in (letter, byte, other)] == [[letter], [letter], [other]]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_known_pieces_are_copied_others_composed_and_special_ones_keep_their_role(
    family: str, tied: bool, new_tokenizer: Any, tmp_path: Path
) -> None:
    old, before = _checkpoint(tmp_path, family, tie_word_embeddings=tied)
    start, counts = continued(tmp_path, new_tokenizer, PLACES)
    model, spelled = start(), spellings(before)
    place = {spelling: i for i, spelling in enumerate(spelled)}
    new = {piece: new_tokenizer.convert_tokens_to_ids(piece) for piece in NEW}
    for table, ours in zip(_tables(old), _tables(model), strict=True):
        assert len(ours) == len(new_tokenizer)
        for piece in (" river", " water", "fall"):
            assert torch.equal(ours[new[piece]], table[place[piece.encode()]])
        for role in ("cls", "sep", "mask", "pad", "unk"):
            i, j = (getattr(t, f"{role}_token_id") for t in (new_tokenizer, before))
            assert torch.equal(ours[i], table[j]), role
        for piece, parts in ((" waterfall", (b" water", b"fall")), (" falls", (b" fall", b"s"))):
            mean = torch.stack([table[place[part]] for part in parts]).mean(0)
            torch.testing.assert_close(ours[new[piece]], mean)
        assert not (ours[new["ଜଳ"]] == table).reshape(len(table), -1).all(1).any()
    embeddings, decoder, _ = _tables(model)
    assert (embeddings.data_ptr() == decoder.data_ptr()) == tied
    assert counts["new"] == len(new_tokenizer) - counts["copied"] - counts["composed"]
    assert counts["composed"] == 2


def test_pieces_that_nothing_is_known_of_start_from_vectors_as_large_as_the_old_rows(
    new_tokenizer: Any, tmp_path: Path
) -> None:
    old, before = _checkpoint(tmp_path, "bert")
    table, water = _tables(old)[0], new_tokenizer.convert_tokens_to_ids("ଜଳ")
    vectors = torch.zeros(len(new_tokenizer), 32)
    vectors[water] = torch.arange(32.0)
    start, _ = continued(tmp_path, new_tokenizer, PLACES, lambda _width: vectors.numpy())
    ours = _tables(start())[0]
    expected = table.mean(0) + table.std(0) * vectors[water] / vectors[water].std()
    torch.testing.assert_close(ours[water], expected)
    byte = new_tokenizer.convert_tokens_to_ids("<0xE0>")
    assert ours[byte].std() > 0, "without a vector it is random"
    assert torch.equal(ours[new_tokenizer.cls_token_id], table[before.cls_token_id])


def test_a_decoder_of_another_width_than_the_embeddings_does_without_their_vectors(
    new_tokenizer: Any, tmp_path: Path
) -> None:
    _checkpoint(tmp_path, "rembert", input_embedding_size=8, output_embedding_size=24)
    rows = len(new_tokenizer)
    start, _ = continued(tmp_path, new_tokenizer, PLACES, lambda width: np.eye(rows, width, dtype=np.float32))
    embeddings, decoder, _ = _tables(start())
    assert (embeddings.shape, decoder.shape) == ((rows, 8), (rows, 24))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_body_sees_the_same_text_as_before_also_once_saved(family: str, new_tokenizer: Any, tmp_path: Path) -> None:
    old, before = _checkpoint(tmp_path / "old", family)
    model = continued(tmp_path / "old", new_tokenizer, PLACES)[0]()
    model.save_pretrained(tmp_path / "new")
    place = {spelling: i for i, spelling in enumerate(spellings(before))}
    pieces = [" river", " water", "fall"] * 12
    inputs = [
        [t.cls_token_id, *ids, t.sep_token_id]
        for t, ids in (
            (before, [place[piece.encode()] for piece in pieces]),
            (new_tokenizer, new_tokenizer.convert_tokens_to_ids(pieces)),
        )
    ]
    with torch.no_grad():
        expected = old.base_model(input_ids=torch.tensor(inputs[:1])).last_hidden_state
        for ours in (model, AutoModelForMaskedLM.from_pretrained(tmp_path / "new")):
            seen = ours.eval().base_model(input_ids=torch.tensor(inputs[1:])).last_hidden_state
            torch.testing.assert_close(seen, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_with_its_own_vocabulary_a_model_starts_bit_by_bit_as_it_was(family: str, tmp_path: Path) -> None:
    old, tokenizer = _checkpoint(tmp_path, family)
    start, counts = continued(tmp_path, tokenizer, PLACES)
    ours = start().state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in old.state_dict().items())
    assert counts == {"copied": len(tokenizer), "composed": 0, "new": 0}


def test_every_start_is_the_same_after_the_same_seed(new_tokenizer: Any, tmp_path: Path) -> None:
    _checkpoint(tmp_path, "bert")
    start, _ = continued(tmp_path, new_tokenizer, PLACES)
    one, other, third = (_tables((torch.manual_seed(seed), start())[1])[0] for seed in (5, 5, 6))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_longer_than_the_model_has_positions_for_are_refused(
    family: str, new_tokenizer: Any, tmp_path: Path
) -> None:
    _checkpoint(tmp_path, family)
    with pytest.raises(UsageError, match=f"positions for {PLACES} tokens: set pretrain.length_tokens to {PLACES}"):
        continued(tmp_path, new_tokenizer, PLACES + 1)


def test_pickled_weights_are_refused(new_tokenizer: Any, tmp_path: Path) -> None:
    model, _ = _checkpoint(tmp_path, "bert")
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match=r"no \.safetensors file, and pickled weights are not read"):
        continued(tmp_path, new_tokenizer, PLACES)


def test_a_model_without_the_masked_head_is_refused(new_tokenizer: Any, tmp_path: Path) -> None:
    model, _ = _checkpoint(tmp_path, "bert")
    AutoModelForSequenceClassification.from_config(model.config).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"is no masked language model: cls\.predictions"):
        continued(tmp_path, new_tokenizer, PLACES)


@pytest.mark.parametrize("name", ["runs/none/pretrain", "/no/where", "nobody/nothing"])
def test_a_name_that_is_neither_here_nor_on_the_hub_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is no folder") as error:
        folder_of(name, MODEL_FILES)
    assert "\n" not in str(error.value)
