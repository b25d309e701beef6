"""Every setting of a run: typed, frozen, each with a default good enough to leave alone.

One YAML file is one run. YAML gives text only (``pipeline/yaml_text.py``) and the types below read it.
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from pipeline.errors import UsageError
from pipeline.yaml_text import as_it_looks, expand, in_all_texts, parse, put


class Settings(BaseModel):
    """A section. A field with ``exclude=True`` changes how fast a result comes, never the result."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Extra(Settings):
    path: str = Field(
        description="file, glob or folder: .txt one document a line, .jsonl with a `text`, or saved by `datasets`"
    )
    weight: float = Field(1.0, ge=0, description="how often each of its documents counts; 0.5 keeps about half")


class Corpus(Settings):
    """What the language model reads."""

    dump: str | None = Field(
        "latest", description="latest, a date (20260901), a path (.xml, .xml.bz2, .xml.gz), or null for none"
    )
    mirror: str = Field("https://dumps.wikimedia.org", description="where dumps are downloaded from")
    extra: tuple[Extra, ...] = Field((), description="corpora read beside the dump")
    allow_truncated: bool = Field(False, description="keep what comes before the point where a dump is cut off")


class Labelled(Settings):
    """What the classifier learns from. Splits are files or `datasets` names; `sib200` finds the language's own."""

    train: str = Field(
        "sib200", description=".tsv .csv .jsonl .parquet, `sib200`, or a `datasets` name: owner/name@config:split"
    )
    dev: str | None = Field(None, description="absent: k-fold on train")
    test: str | None = Field(
        None, description="`score` alone measures on it; fetch and filter take its texts out elsewhere"
    )
    text: str | tuple[str, ...] = Field(
        "text", description="the column of the document, or several to join with a newline, a headline first"
    )
    label: str = Field("category", description="the column of the class name")
    separator: str | None = Field(
        None, min_length=1, description="what parts the labels of a document that has several, e.g. |; lists need none"
    )
    order: tuple[str, ...] = Field(
        (), description="all class names from the lowest to the highest, where they have an order: ordinal targets"
    )
    remove_leaked: bool = Field(True, description="take documents that are also in test out of train and dev")
    as_corpus: bool = Field(False, description="pretrain on the texts of train too, without their labels")


class Extract(Settings):
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", exclude=True, description="processes; auto: one a core"
    )


class Filter(Settings):
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", exclude=True, description="processes; auto: one a core"
    )
    min_words: int = Field(5, ge=1, description="shorter documents are dropped")
    scripts: tuple[str, ...] | Literal["auto"] = Field(
        "auto", description="ISO 15924 codes, e.g. [Orya]; auto: those of the language in CLDR"
    )
    min_script_share: float = Field(
        0.5, ge=0, le=1, description="least share of a paragraph's letters in these scripts"
    )
    language_check: bool = Field(True, description="drop paragraphs unlike most of the corpus, by character n-grams")
    language_model: str | None = Field(
        None, description="path of a fastText model (GlotLID, lid.176) that judges the language in place of that check"
    )
    stub_cap: int | None = Field(
        10, ge=1, description="articles kept that are one sentence pattern with other values; null: all"
    )
    valid_share: float = Field(0.05, gt=0, lt=1, description="share of documents held out for validation")
    temperature: float = Field(1.0, ge=1, description="above 1, smaller corpora are repeated; n^(1/T) sampling")


class Tokenizer(Settings):
    existing: str | None = Field(
        None, description="folder, or owner/name@revision, whose tokenizer is taken as it is, in place of learning one"
    )
    algorithm: Literal["bpe", "unigram", "wordpiece", "sentencepiece-bpe", "sentencepiece-unigram"] = Field(
        "bpe",
        description="learned by `tokenizers` or by SentencePiece; `unigram` differs from run to run, the others do not",
    )
    vocab_size: int | Literal["auto"] = Field("auto", description="entries; auto: chosen from the number of words")
    compare: tuple[str, ...] = Field((), description="folders of other tokenizers, measured on the same text")


class Encode(Settings):
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", exclude=True, description="threads; auto: one a core"
    )


class Model(Settings):
    type: str = Field("modernbert", description="the family: most encoders that transformers' Auto classes know")
    size: Literal["auto", "tiny", "mini", "small", "base"] = Field(
        "small",
        description="tiny 2×128, mini 4×256, small 6×256, base 12×768; auto: by budget and corpus, docs/pretraining.md",
    )
    config: dict[str, Any] = Field({}, description="further fields of that family's transformers configuration")

    @field_validator("config")
    @classmethod
    def _numbers(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """No type of ours says which of these fields are numbers, so that they are what they look like."""
        return {name: in_all_texts(value, as_it_looks) for name, value in fields.items()}


Masking = Literal["tokens", "words", "spans"]


class Pretrain(Settings):
    max_minutes: float | None = Field(
        None, gt=0, description="time budget, turned into steps by a measured warm-up; 20 where no budget is given"
    )
    max_steps: int | None = Field(None, gt=0, description="optimizer steps")
    max_epochs: float | None = Field(None, gt=0, description="passes over the training text")
    length_tokens: int = Field(128, ge=8, description="tokens in a block")
    short_share: float = Field(
        0, ge=0, lt=1, description="share of the steps, at the start, on blocks of half that length, twice as many"
    )
    attention: Literal["documents", "blocks"] = Field(
        "documents", description="what a token may look at: its document's part of the block, or the whole block"
    )
    global_batch_blocks: int = Field(64, ge=1, description="blocks an optimizer step, over all processes")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where it is measured to be faster"
    )
    compile: Literal["auto", "always", "never"] = Field(
        "auto", description="auto: where it pays for itself within the run"
    )
    micro_batch_blocks: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto", exclude=True, description="blocks at once in one process"
    )
    init: str | None = Field(
        None, description="masked language model to go on from: a folder, or owner/name@revision: docs/pretraining.md"
    )
    start: Literal["vectors", "random"] = Field(
        "vectors", description="of the embeddings that init does not give: docs/ablations.md"
    )
    start_scale: float = Field(
        1, gt=0, description="size of start's vectors beside random ones, in a model from nothing"
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="for the matrices of the layers; AdamW for the rest: docs/ablations.md"
    )
    learning_rate: float = Field(2e-3, gt=0, description="peak rate; chosen at width 256, wider networks want less")
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.05, ge=0, le=1, description="share of the steps that the rate rises")
    decay_share: float = Field(0.2, ge=0, le=1, description="share of the steps that the rate falls, at the end")
    z_loss: float = Field(0, ge=0, description="weight of the squared log-normaliser, e.g. 1e-4 (arXiv 2204.02311)")
    contrastive: float = Field(
        0, ge=0, description="weight of telling which halves of blocks belong together, e.g. 0.1 (arXiv 2104.08821)"
    )
    average_share: float = Field(
        0,
        ge=0,
        le=1,
        description="share of the steps, at the end, whose mean weights are the result (arXiv 1803.05407)",
    )
    masking: Masking = Field("tokens", description="what is hidden together: nothing, words, spans (arXiv 1907.10529)")
    mask_rate: float = Field(0.3, gt=0, lt=1, description="share of tokens masked at the start")
    mask_rate_end: float = Field(0.15, gt=0, lt=1, description="share of tokens masked at the end (arXiv 2305.15096)")
    seed: int = Field(0, ge=0, lt=2**32)
    checkpoint_minutes: float = Field(5, gt=0, exclude=True, description="minutes between checkpoints")
    log_steps: int = Field(20, ge=1, exclude=True, description="optimizer steps between lines of the log")
    trackers: tuple[str, ...] | Literal["auto"] = Field(
        "auto", exclude=True, description="of Accelerate, e.g. [tensorboard, wandb]; auto: TensorBoard if installed"
    )
    evaluations: int = Field(
        10,
        ge=1,
        description="how often validation loss is measured, evenly spread; less often where max_minutes is short",
    )

    @model_validator(mode="before")
    @classmethod
    def _one_budget(cls, values: Any) -> Any:
        """Without a budget what served best (docs/ablations.md, How long); with two it would be unclear which holds."""
        if not isinstance(values, dict):
            return values
        given = [k for k in ("max_minutes", "max_steps", "max_epochs") if values.get(k) is not None]
        if len(given) > 1:
            raise ValueError(
                f"give one of max_minutes, max_steps and max_epochs, not {' and '.join(given)}: null the rest"
            )
        return values if given else {**values, "max_minutes": 20}

    @model_validator(mode="after")
    def _blocks_have_halves(self) -> "Pretrain":
        if self.short_share and self.length_tokens % 2:
            raise ValueError("short_share needs an even length_tokens")
        return self


class Finetune(Settings):
    strategy: Literal[
        "auto", "hybrid", "features", "full", "last_layers", "head_then_all", "gradual", "lora", "scratch"
    ] = Field("auto", description="what trains, and when, and what answers: docs/transfer.md")
    network: Literal["full", "last_layers", "head_then_all", "gradual", "lora"] = Field(
        "full", description="the strategy of the network in auto and hybrid"
    )
    machine: Literal["svm", "logistic", "neighbours"] = Field(
        "svm", description="what classifies features: auto, hybrid, features"
    )
    layers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        2, description="layers that train with the head, from the top: last_layers; auto: chosen on dev"
    )
    lora_rank: int = Field(8, ge=1, description="width of the adapters: lora, which wants a higher learning_rate")
    layer_decay: float = Field(1.0, gt=0, le=1, description="of the rate from a layer to the one below it")
    share_updates: bool = Field(
        True, description="what embeddings learn moves those of other pieces, too, by their spelling and company"
    )
    reinitialised_layers: int = Field(0, ge=0, description="layers drawn anew, from the top (arXiv 2006.05987)")
    pooling: Literal["auto", "cls", "mean", "max", "attention"] = Field(
        "auto",
        description="what the head sees: first token, mean, max, or a learned mean; ModernBERT alone has a choice; "
        "auto: as pretrained",
    )
    dropout: float | None = Field(None, ge=0, lt=1, description="rate of every dropout; null: as pretrained")
    r_drop: float = Field(0, ge=0, description="weight of two dropouts' disagreement in the loss (arXiv 2106.14448)")
    dropout_samples: int = Field(1, ge=1, description="dropouts of the head at once, whose losses are averaged")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | Literal["auto"] = Field(
        "auto",
        description="share of each target spread evenly over the classes; auto: 0.1 of a document's one label, where "
        "classes have no order",
    )
    class_weights: Literal["none", "balanced"] = Field("none", description="balanced: all classes weigh the same")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where it is measured to be faster"
    )
    seeds: int = Field(5, ge=1, description="independent runs: head, data order and dropout differ")
    ship: Literal["best", "soup", "distilled"] = Field(
        "best",
        description="of the seeds the best on dev; the mean of their weights (then all start from one head); or the "
        "best of as many pupils, that learn what else would answer: from what it says of unlabelled text",
    )
    unlabelled: int = Field(8000, ge=1, description="passages of the corpus to learn from: ship=distilled")
    epochs: int = Field(10, ge=1)
    batch_documents: int = Field(16, ge=1, description="documents an optimizer step, over all processes")
    learning_rate: float = Field(2e-4, gt=0, description="peak rate")
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.1, ge=0, le=1, description="share of the steps that the rate rises")
    decay_share: float = Field(0.9, ge=0, le=1, description="share of the steps that the rate falls, at the end")
    max_length_tokens: int = Field(256, ge=8, description="longer documents are cut; how many is reported")
    long_documents: Literal["head", "head_tail", "windows"] = Field(
        "head", description="keep the start, 3/4 start and 1/4 end, or all in windows, averaged"
    )

    @model_validator(mode="after")
    def _networks_are_shipped(self) -> "Finetune":
        if self.ship != "best" and self.strategy in ("features", "scratch"):
            raise ValueError(f"ship={self.ship} makes one transferred network of several: set another strategy")
        return self

    @model_validator(mode="after")
    def _what_is_drawn_anew_trains(self) -> "Finetune":
        network = self.network if self.strategy in ("auto", "hybrid") else self.strategy
        trained = {"lora": 0, "last_layers": self.layers}.get(network)
        if isinstance(trained, int) and self.reinitialised_layers > trained:
            raise ValueError(
                f"reinitialised_layers={self.reinitialised_layers} would stay as they are drawn, "
                f"since {network} trains {trained} layers: name so many or fewer"
            )
        return self


class Score(Settings):
    resamples: int = Field(2000, ge=100, description="bootstrap resamples of the test documents")


class Curve(Settings):
    sizes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (10, 25, 50, 100, 250), description="numbers of labels to learn from; all of them come on top"
    )
    seeds: int = Field(5, ge=1, description="draws of the labelled documents, with a network each")


class Tune(Settings):
    trials: int = Field(20, ge=1, description="settings to try in all, those of the run among them")
    minutes: float | None = Field(None, gt=0, description="after which a command begins no further trial")


class Config(Settings):
    run: str = Field(pattern=r"^[\w.-]+$", description="folder under runs/")
    language: str = Field(description="Wikipedia code")
    corpus: Corpus = Corpus()
    labelled: Labelled | None = Field(Labelled(), description="null: pretrain only")
    extract: Extract = Extract()
    filter: Filter = Filter()
    tokenizer: Tokenizer = Tokenizer()
    encode: Encode = Encode()
    model: Model = Model()
    pretrain: Pretrain = Pretrain()
    finetune: Finetune = Finetune()
    score: Score = Score()
    curve: Curve = Curve()
    tune: Tune = Tune()


def load(argument: str, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """The configuration that a command line names.

    ``argument`` is a YAML file or a Wikipedia code; a code means ``configs/<code>.yaml`` where there is
    one and the defaults where there is none. ``overrides`` are ``section.key=value``, read as YAML.
    Raises UsageError: no such file or code, unknown key (with the nearest known one), wrong type.
    """
    path = Path(argument)
    if path.suffix not in (".yaml", ".yml"):
        path = Path("configs", f"{argument}.yaml")
        values = parse(path.read_text("utf-8"), path) if path.exists() else {"run": argument, "language": argument}
    else:
        try:
            values = parse(path.read_text("utf-8"), path)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{path} cannot be read ({error}): name a YAML file, or a Wikipedia code such as `or`"
            ) from error
    for override in overrides:
        put(values, override)
    try:
        return Config.model_validate(in_all_texts(values, expand))
    except ValidationError as error:
        raise UsageError(f"{argument}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(problem["loc"])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
        return f"unknown key `{where}`: {hint}"
    if problem["type"] == "missing":
        return f"`{where}` is missing: add it to the file"
    if problem["type"] == "tuple_type":
        return f"`{where}` is {problem['input']!r}: write a list, [{problem['input']}] (in make's SET without spaces)"
    return f"`{where}` is {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    section: Any = Config
    for part in location[:-1]:
        if isinstance(part, str) and part in section.model_fields:
            annotation = section.model_fields[part].annotation
            section = next(
                (a for a in _flatten(annotation) if isinstance(a, type) and issubclass(a, Settings)), section
            )
    return list(section.model_fields)


def _flatten(annotation: Any) -> list[Any]:
    inner = get_args(annotation)
    return [a for part in inner for a in _flatten(part)] if inner else [annotation]
