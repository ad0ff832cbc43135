"""`autorisk search`, and the clips of like meaning in the dashboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from autorisk_dagster.cli import main
from autorisk_dagster.errors import InputError
from autorisk_dagster.reporting.dashboard.fleet_search import TEXTS, by_meaning, by_words, read_texts
from autorisk_dagster.reporting.dashboard.site_files import ROOT
from autorisk_dagster.reporting.text_embeddings import SentenceModel
from tests.reporting.dashboard.fleet import WORDS, Fleet, write_site
from tests.reporting.dashboard.test_site import chunk, page
from tests.reporting.dashboard.test_site_browser import plain_search
from tests.reporting.sentence_model import write_sentence_model

FLEET = Fleet(2, 6)


class Counting:
    """A vector that counts each word: its cosines can be said by hand."""

    name = "counting"

    def embed(self, texts: list[str]) -> np.ndarray:
        return np.array([[text.split().count(word) for word in WORDS] for text in texts], np.float32)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("site")
    write_site(FLEET, folder, embedder=Counting())
    return read_texts(folder / TEXTS)


def test_by_words_answers_as_a_plain_search_does(texts: pl.DataFrame) -> None:
    said = [f"{row['hazards']} {row['reasoning']} {row['evidence']}" for row in texts.iter_rows(named=True)]
    for query in ("braking", "crossed careful car", "nothing-of-this", "", "Pedestrian!"):
        wanted = plain_search(said, query, exact=False)
        found = by_words(texts, query)
        assert [hit.row["clip_id"] for hit in found] == [texts["clip_id"][number] for number, _, _ in wanted], query
        assert [hit.score for hit in found] == pytest.approx([score for _, score, _ in wanted])


def test_by_meaning_ranks_by_the_cosine_with_the_query(texts: pl.DataFrame) -> None:
    found = by_meaning(texts, "rain rain night", Counting())
    wanted = []
    for row in texts.iter_rows(named=True):
        each = "\n".join(row[name] for name in ("hazards", "reasoning", "evidence")).split()
        counts = np.array([each.count(word) for word in WORDS], float)
        both = 2 * each.count("rain") + each.count("night")
        wanted.append(both / (5**0.5 * np.linalg.norm(counts)))
    assert [hit.score for hit in found] == pytest.approx(sorted(wanted, reverse=True), abs=0.02)
    assert max(wanted) > 0.1


def test_vectors_of_another_model_are_refused(texts: pl.DataFrame) -> None:
    class Other(Counting):
        name = "other"

    with pytest.raises(InputError, match=r"of counting, the query's of other.*autorisk dashboard"):
        by_meaning(texts, "car", Other())
    with pytest.raises(InputError, match="of no model"):
        by_meaning(texts.with_columns(pl.lit(None, pl.String).alias("model")), "car", Other())


def test_the_dashboard_names_the_model_and_the_nearest_clips(tmp_path: Path) -> None:
    write_site(FLEET, tmp_path / "with", embedder=Counting())
    name = page(tmp_path / "with", "clips.html").split('data-similar="')[1].split('"')[0]
    similar = chunk(tmp_path / "with" / ROOT / "data" / f"{name}.js")
    assert len(similar) == 12 and all(len(flat) == 12 for flat in similar)  # six neighbours, each with its cosine
    assert all(
        number not in flat[::2] and flat[1::2] == sorted(flat[1::2])[::-1] for number, flat in enumerate(similar)
    )
    assert "both with counting" in page(tmp_path / "with", "search.html")
    write_site(FLEET, tmp_path / "without")
    assert "data-similar" not in page(tmp_path / "without", "clips.html")
    assert "no embedding model is configured" in page(tmp_path / "without", "search.html")


def test_the_command_searches_by_words_and_by_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", reason="sentence models need the extra models")
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path))
    monkeypatch.delenv("AUTORISK_EMBEDDING_MODEL", raising=False)
    run = CliRunner().invoke
    nothing = run(main, ["search", "car"])
    assert nothing.exit_code == 1 and "make the dashboard first" in nothing.output
    model = write_sentence_model(tmp_path / "tiny", WORDS)
    write_site(FLEET, tmp_path / "media", embedder=SentenceModel(model))
    table = read_texts(tmp_path / "media" / TEXTS)
    words = run(main, ["search", "braking", "car"])
    assert words.exit_code == 0 and "by words (BM25)" in words.output
    first = by_words(table, "braking car")[0].row["clip_id"]
    assert first in words.output.splitlines()[1]
    monkeypatch.setenv("AUTORISK_EMBEDDING_MODEL", str(model))
    meaning = run(main, ["search", "--limit", "3", "car", "brakes"])
    assert meaning.exit_code == 0 and "12 of 12 clips, by meaning, tiny (" in meaning.stdout
    best = by_meaning(table, "car brakes", SentenceModel(model))[:3]
    for line, hit in zip(meaning.stdout.splitlines()[1:], best, strict=True):
        assert hit.row["clip_id"] in line
    assert "by words" in run(main, ["search", "--words", "car"]).output
