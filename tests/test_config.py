"""Configuration: text in, types out, and errors that say what to type instead."""

from pathlib import Path

import pytest

from pipeline import config
from pipeline.errors import UsageError


def _load(tmp_path: Path, text: str, *overrides: str) -> config.Config:
    file = tmp_path / "run.yaml"
    file.write_text(text, "utf-8")
    return config.load(str(file), overrides)


def test_yaml_traps_are_closed(tmp_path: Path) -> None:
    text = (
        "run: 2026-11-20\nlanguage: no\ncorpus: {dump: 20260901}\npretrain: {learning_rate: 5e-4, max_steps: 1_000}\n"
    )
    run = _load(tmp_path, text)
    assert (run.run, run.language, run.corpus.dump) == ("2026-11-20", "no", "20260901")
    assert (run.pretrain.learning_rate, run.pretrain.max_steps) == (5e-4, 1000)
    assert _load(tmp_path, "run: a\nlanguage: or\ncorpus: {dump: null}\nlabelled: ~\n").labelled is None


def test_a_seed_is_one_that_all_libraries_take(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`pretrain.seed` is '20261122101530': .* less than 4294967296"):
        _load(tmp_path, "run: a\nlanguage: or\n", "pretrain.seed=20261122101530")


def test_overrides_are_yaml_and_reach_any_depth(tmp_path: Path) -> None:
    run = _load(tmp_path, "run: a\nlanguage: or\n", "pretrain.max_steps=7", "corpus.extra=[{path: a.txt, weight: 0.5}]")
    assert run.pretrain.max_steps == 7
    assert run.pretrain.max_minutes is None
    assert _load(tmp_path, "run: a\nlanguage: or\n").pretrain.max_minutes == 20, "where no budget is given"
    assert run.corpus.extra == (config.Extra(path="a.txt", weight=0.5),)
    for sign in "|>#-;,%":
        labelled = _load(tmp_path, "run: a\nlanguage: or\n", f"labelled.separator={sign}").labelled
        assert labelled
        assert labelled.separator == sign
    assert _load(tmp_path, "run: a\nlanguage: or\n", "corpus.dump=~").corpus.dump is None


def test_fields_of_transformers_are_numbers_where_they_look_so(tmp_path: Path) -> None:
    text = "run: a\nlanguage: or\nmodel:\n  config: {norm_eps: 1e-6, rope: {theta: 10, kind: full}}\n"
    fields = _load(tmp_path, text, "model.config.mlp_dropout=0.1", "model.config.norm_bias=true").model.config
    assert fields == {"norm_eps": 1e-6, "rope": {"theta": 10, "kind": "full"}, "mlp_dropout": 0.1, "norm_bias": True}


@pytest.mark.parametrize(
    ("text", "overrides", "says"),
    [
        ("run: a\nlanguage: or\npretrian: {}\n", (), "unknown key `pretrian`: did you mean `pretrain`?"),
        ("run: a\nlanguage: or\n", ("model.sise=tiny",), "unknown key `model.sise`: did you mean `size`?"),
        ("run: a\nlanguage: or\ncorpus: {extra: [{pth: x}]}\n", (), "`corpus.extra.0.path` is missing"),
        ("run: a\nlanguage: or\n", ("pretrain.max_steps=ten",), "`pretrain.max_steps` is 'ten'"),
        ("run: a\nlanguage: or\n", ("pretrain.max_steps",), "write section.key=value"),
        ("run: a\nlanguage: or\n", ("pretrain.max_steps=1", "pretrain.max_minutes=1"), "null the rest"),
        ("run: a\nlanguage: or\n", ("curve.sizes=10,60",), "write a list, [10,60]"),
        ("run: a\nrun: b\nlanguage: or\n", (), "the key `run` is given twice"),
        ("run: a\n", (), "`language` is missing"),
        ("run: a\nlanguage: or\npretrain:\n", (), "`pretrain` is None"),
        ("run: a\nlanguage: or\n", ("pretrain=fast",), "`pretrain` is 'fast'"),
        (
            "run: a\nlanguage: or\n",
            ("finetune.network=lora", "finetune.reinitialised_layers=1"),
            "since lora trains 0 layers: name so many or fewer",
        ),
        (
            "run: a\nlanguage: or\n",
            ("finetune.strategy=last_layers", "finetune.reinitialised_layers=3"),
            "since last_layers trains 2 layers",
        ),
        ("run: a\nlanguage: or\n", ("pretrain.seed=-1",), "`pretrain.seed` is '-1'"),
        ("run: a\nlanguage: or\n", ("pretrain.micro_batch_blocks=0",), "`pretrain.micro_batch_blocks"),
        ("run: a\nlanguage: or\n", ("filter.stub_cap=0",), "`filter.stub_cap` is '0'"),
        ("run: a\nlanguage: or\n", ("extract.workers=0",), "`extract.workers"),
        ("run: a\nlanguage: or\n", ("filter.workers=-2",), "`filter.workers"),
        ("run: a\nlanguage: or\n", ("encode.workers=0",), "`encode.workers"),
        ("- a\n", (), "holds no settings"),
        ("run: [\n", (), "is not YAML"),
        ("run: a/b\nlanguage: or\n", (), "`run` is 'a/b'"),
        ("run: a\nlanguage: or\ncorpus: {dump: '${AKSHARA_NOT_SET}/x'}\n", (), "AKSHARA_NOT_SET, which is not set"),
    ],
)
def test_errors_are_one_line_with_the_remedy(tmp_path: Path, text: str, overrides: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError) as error:
        _load(tmp_path, text, *overrides)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_code_means_its_file_where_there_is_one_and_defaults_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.load("yo") == config.Config(run="yo", language="yo")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "yo.yaml").write_text("run: ours\nlanguage: yo\n", "utf-8")
    assert config.load("yo").run == "ours"


def test_environment_variables_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEWHERE", "/data")
    assert _load(tmp_path, "run: a\nlanguage: or\ncorpus: {dump: '${SOMEWHERE}/d.xml'}\n").corpus.dump == "/data/d.xml"


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_committed_configuration_loads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKSHARA_DATA", "/data")
    assert config.load(str(path)).run == path.stem
