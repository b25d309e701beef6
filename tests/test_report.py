"""The report: whole, self-contained and safe, whatever of a run is there."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import regex
from finished_run import SENTENCES, predictions, results
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from pipeline import artifacts, config
from pipeline.artifacts import Run
from pipeline.metrics.verdict import verdict
from pipeline.recipe import LINE
from pipeline.reporting import charts, gather
from pipeline.reporting.page import render
from pipeline.text.documents import read_jsonl


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def small_tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(
        [" ".join(SENTENCES[0].split()[:4])] * 3 + list(SENTENCES), trainers.BpeTrainer(vocab_size=60)
    )
    tokenizer.save(str(path))


def finish(run: Run, name: str, fill: Callable[[Path], None], counts: dict[str, Any]) -> None:
    """Make the result of a stage as a stage does."""
    made_from = artifacts.ingredients(LINE[name], run)
    part = artifacts.open_part(LINE[name], run, made_from)
    fill(part)
    about = {"stage": name, **made_from, "counts": counts, "started": "2026-03-01T10:00:00+00:00", "seconds": 12.5}
    artifacts.finish_part(part, {**about, "peak_memory_bytes": 600_000_000})


def write_files(part: Path, files: dict[str, Any]) -> None:
    for file, content in files.items():
        write_lines(part / file, content) if isinstance(content, list) else artifacts.write_json(part / file, content)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run but for its report."""
    monkeypatch.chdir(tmp_path)
    Path("trial.yaml").write_text("run: trial\nlanguage: or\ncorpus: {dump: null}\nlabelled: null\n", "utf-8")
    run = Run(config.load("trial.yaml"), "trial.yaml")
    for name, (counts, files) in results().items():

        def fill(part: Path, name: str = name, files: dict[str, Any] = files) -> None:
            write_files(part, files)
            if name == "tokenizer":
                small_tokenizer(part / "tokenizer.json")

        finish(run, name, fill, counts)
    return run


class Links(HTMLParser):
    """Collects what a browser would load or run."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.found += [
            str(value) for name, value in attrs if name in ("src", "srcset", "data") or (name == "href" and tag != "a")
        ]
        assert not any(name.startswith("on") for name, _ in attrs)


def test_the_stage_writes_one_page_that_loads_nothing(run: Run) -> None:
    command = [sys.executable, "-m", "pipeline.report", "trial.yaml"]
    root = Path(artifacts.__file__).parents[1]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True)
    page = run.input("report/index.html").read_text("utf-8")
    links = Links(page)
    assert [link for link in links.found if not link.startswith("data:,")] == []
    assert links.scripts == 0
    assert "url(" not in page
    assert "@import" not in page
    manifest = artifacts.read_manifest(run.folder / "report")
    assert manifest is not None
    assert manifest["outputs"]["index.html"]["bytes"] == len(page.encode())
    assert artifacts.why_stale(LINE["report"], run) is None
    renamed = Run(run.config.model_copy(update={"run": "other"}), "trial.yaml")
    shutil.copytree(run.folder, renamed.folder)
    assert artifacts.why_stale(LINE["report"], renamed) == "run: trial → other", "the page names its run"
    counts, files = results()["fetch"]
    finish(run, "fetch", lambda part: write_files(part, files), {**counts, "sources": 2})
    assert artifacts.why_stale(LINE["report"], run) == "fetch/manifest.json changed", "the page shows counts, too"


def test_the_page_tells_what_the_files_hold(run: Run) -> None:
    page = render(gather.everything(run))
    right = sum(row["label"] == row["predicted"] for row in predictions())
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for expected in (
        "82.0 %", "72.0 % to 90.0 %", "77.0 %", "word vectors + linear classifier", "60.0 %",
        "+5.0 points", "−3.1 to +12.0", "neutral transfer", "macro F1",
        "quadratic weighted kappa", "0.691", "always the largest class", "17.0 %", "culture, has 31.0 %",
        "The model to use here: the transferred classifier", "Transfer is neutral on this data.",
        "The network by itself",
        "7 4 0.550", "15 1 &lt; 0.001",
        "taken out: 1 of train", "`sports`, `Sports`", "train 1 `sports` and test 1 `culture`",
        "agriculture 18 4 8", "all 108 24 48", "Longer than 256 tokens and cut: 3 of train, 0 of dev",
        "temperature 1.80.", "Share of right answers",
        "Of 130 pages", "104 were articles", "Kept were 91 with 8,500 words (94.4 %)", "taken out: 7 stub",
            "other namespaces −8", "wrong script",
        "tokens a second 32,768",
        "on held-out text", "26 of the 26 tensors", f"{right} of 48 right", "Odia ଓଡ଼ିଆ", "12.5 s", "600 MB",
        "make report RUN=trial.yaml",
    ):  # fmt: skip
        assert expected in text


def changed_scores(run: Run, **changes: Any) -> str:
    """The text of the page, with other scores."""
    path = run.input("score/scores.json")
    artifacts.write_json(path, json.loads(path.read_text("utf-8")) | changes)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", render(gather.everything(run))))


def test_the_page_claims_nothing_that_is_not_so(run: Run) -> None:
    page = changed_scores(run)
    assert "test documents, which training never saw," in page
    assert "logits are divided by a temperature" in page
    after = json.loads(run.input("score/scores.json").read_text("utf-8"))["calibration"]["after"]
    page = changed_scores(run, answer="linear", calibration={"after": after})
    assert "The classifier is the pretrained network" not in page
    assert not any(word in page for word in ("a temperature", "; temperature", "before after"))
    assert f"nats a document {after['nats']:.3f}" in page

    counts, files = results()["fetch"]
    faults = {**counts["labelled_faults"], "removed": {}}
    finish(run, "fetch", lambda part: write_files(part, files), {**counts, "labelled_faults": faults})
    write_lines(run.input("pretrain/metrics.jsonl"), [{"step": 1, "loss_nats": 2.0}, {"step": 2, "loss_nats": 3.0}])
    page = changed_scores(run)
    assert "test documents, some of which training saw," in page
    assert "its loss was 2.00 nats a hidden token at first and 3.00 at last" in page


def test_the_page_of_a_network_from_random_weights_speaks_of_no_transfer(run: Run) -> None:
    evidence = {"tfidf_svm": json.loads(run.input("score/scores.json").read_text("utf-8"))["evidence"]["tfidf_svm"]}
    other = Run(config.load("trial.yaml", ["finetune.strategy=scratch"]), "trial.yaml")
    page = changed_scores(other, **verdict(0.82, evidence, 48, gather.NAMES, "a network from random weights"))
    assert "Nothing is transferred here." in page
    assert "The model to use here: the trained network" in page
    assert not any(word in page for word in ("transferred classifier", "transferred model", "Was it worth it"))


@pytest.mark.parametrize(
    ("code", "scripts", "side"),
    [
        ("or", "auto", "ltr"),
        ("fa", "auto", "rtl"),
        ("azb", "auto", "auto"),  # CLDR knows no script of it
        ("azb", ("Arab",), "rtl"),
        ("ku", "auto", "auto"),
        ("ku", ("Latn",), "ltr"),
        ("be-x-old", "auto", "ltr"),
    ],
)
def test_text_runs_as_its_script_does(code: str, scripts: Any, side: str) -> None:
    assert gather.language(code, scripts)["dir"] == side


def test_the_hardest_documents_are_shown_shortened(run: Run) -> None:
    found = gather.everything(run)["hardest"]
    assert len(found) == gather.HARDEST
    assert all(row["text"].endswith(" …") and len(row["text"]) <= gather.EXCERPT_LETTERS + 2 for row in found)


@pytest.mark.parametrize("text", ["ภาษาที่ไม่มีช่องว่าง" * 20, "မြန်မာဘာသာ" * 40, "短。 " + "天地玄黃" * 99, "ନ୍ୟାୟ" * 70])
def test_a_text_without_spaces_is_cut_between_letters_with_their_marks(text: str) -> None:
    for most in range(60, 70):
        short = gather.shortened(text, most).removesuffix(" …")
        assert most - 6 < len(short) <= most
        assert text.startswith(short)
        assert regex.findall(r"\X", text)[: len(regex.findall(r"\X", short))] == regex.findall(r"\X", short)


def test_differences_lie_around_zero(run: Run) -> None:
    chart = gather.everything(run)["differences"]
    linear, scratch, *alone = chart["rows"]
    assert [row["name"] for row in alone] == [f"network alone, {row['name']}" for row in (linear, scratch)]
    assert linear["from"] < chart["reference"] < linear["at"] < linear["to"]
    assert chart["reference"] < scratch["from"]
    assert charts.whiskers([{"mean": -0.3, "low": -0.4, "high": -0.2}], span=(-1, 1), reference=0.0) is not None


def test_text_of_the_data_stays_text(run: Run) -> None:
    rows = list(read_jsonl(run.input("score/hardest.jsonl")))
    write_lines(run.input("score/hardest.jsonl"), [{**row, "label": "<script>alert(1)</script>"} for row in rows])
    write_lines(
        run.input("filter/dropped.jsonl"),
        [{"title": "<img src=x>", "text": "a & <b", "reason": "<i>", "unit": "paragraph"}],
    )
    page = render(gather.everything(run))
    assert Links(page).scripts == 0
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "a &amp; &lt;b" in page


@pytest.mark.parametrize("missing", [*LINE][:-1])
def test_without_a_stage_the_rest_is_shown(run: Run, missing: str) -> None:
    shutil.rmtree(run.folder / missing)
    page = render(gather.everything(run))
    assert 'id="making"' in page
    assert "Undefined" not in page


def test_without_any_counts_there_is_still_a_page(run: Run) -> None:
    for name in results():
        manifest = artifacts.read_manifest(run.folder / name)
        shutil.rmtree(run.folder / name)
        (run.folder / name).mkdir()
        artifacts.write_json(run.folder / name / artifacts.MANIFEST, {**(manifest or {}), "counts": {}})
    page = render(gather.everything(run))
    assert 'id="making"' in page
    assert 'id="corpus"' not in page


def test_the_same_results_give_the_same_page(run: Run) -> None:
    assert render(gather.everything(run)) == render(gather.everything(run))


def test_pieces_of_a_word_join_to_the_word(run: Run) -> None:
    words = gather.pieces(run.input("tokenizer/tokenizer.json"), run.input("filter/valid.jsonl"))
    assert ["".join(word) for word in words] == SENTENCES[0].split()
    assert any(len(word) > 1 for word in words)


def test_ticks_are_round_and_within() -> None:
    assert charts.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert charts.ticks(0, 37_000) == [0, 10_000, 20_000, 30_000]
    assert charts.ticks(3, 3) == [3]


def test_lines_lie_in_their_box_and_skip_what_is_not_finite() -> None:
    chart = charts.line_chart([{"points": [(0, 2.0), (5, float("nan")), (10, 1.0)]}])
    assert chart is not None
    (line,) = chart["series"]
    assert [left for left, _ in line["dots"]] == [0, 100]
    (_, first), (_, last) = line["dots"]
    assert 0 < first < last < 100
    assert charts.line_chart([{"points": [(0, float("inf"))]}]) is None


def test_thinning_keeps_the_mean() -> None:
    points = [(float(i), float(i % 2)) for i in range(10_000)]
    few = charts.thinned(points, 100)
    assert len(few) == 100
    assert sum(y for _, y in few) / 100 == pytest.approx(0.5)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
def test_a_browser_shows_the_page_and_asks_for_nothing(run: Run, tmp_path: Path) -> None:
    page, log, asked = render(gather.everything(run)).encode(), tmp_path / "net.json", []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{server.server_port}"
        command = [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--log-net-log={log}", "--dump-dom",
            f"{origin}/index.html",
        ]  # fmt: skip
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
        server.shutdown()
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", shown)
    assert headings == [
        "Was the transfer worth it?",
        "Corpus",
        "Tokenizer",
        "Pretraining",
        "Labelled documents",
        "Transfer",
        "Classes",
        "Probabilities",
        "Hardest documents",
        "How it was made",
    ]
    assert asked == ["/index.html"]
    # the browser has errands of its own; those of the page bear the page's origin
    assert f'"initiator":"{origin}"' not in log.read_text("utf-8")
