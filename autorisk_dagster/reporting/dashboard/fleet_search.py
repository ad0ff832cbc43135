"""The fleet's texts as a table beside the dashboard, and the ranking of its clips by words or by meaning.

`autorisk search` reads it. It is written with the dashboard, so that both say the same of the same clips.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster.errors import InputError
from autorisk_dagster.reporting.dashboard.search_index import FIELDS, words
from autorisk_dagster.reporting.dashboard.site_files import DATA
from autorisk_dagster.reporting.dashboard.stemmer import stem
from autorisk_dagster.reporting.text_embeddings import Embedder, cosines, quantised

TEXTS: Final = f"{DATA}/texts.parquet"
SCHEMA: Final[dict[str, Any]] = {
    "clip_id": pl.String,
    "severity": pl.String,
    "start_sec": pl.Float64,
    "end_sec": pl.Float64,
    **dict.fromkeys(FIELDS, pl.String),
    "model": pl.String,  # whose vectors these are; null: no embedding model was configured
    "vector": pl.List(pl.Int8),  # null: no model, or nothing was said of the clip
}
_K1, _B = 1.2, 0.75  # as templates/search.js


@dataclass(frozen=True)
class Hit:
    """A clip that answers a query: its row of the table of texts, and its score (BM25, or cosine)."""

    row: dict[str, Any]
    score: float


def text_table(
    rows: Sequence[dict[str, Any]], texts: Sequence[dict[str, str]], embedder: Embedder | None
) -> pl.DataFrame:
    """The clips' texts, in the order of the dashboard's list, with their vectors where there is a model."""
    said = [number for number, text in enumerate(texts) if any(text[name].strip() for name in FIELDS)]
    vectors: list[list[int] | None] = [None] * len(rows)
    if embedder is not None and said:
        found = quantised(embedder.embed(["\n".join(texts[number][name] for name in FIELDS) for number in said]))
        for number, vector in zip(said, found, strict=True):
            vectors[number] = vector.tolist()
    return pl.DataFrame(
        [
            {
                "clip_id": row["id"],
                "severity": row["severity"],
                "start_sec": row["start"],
                "end_sec": row["end"],
                **{name: text[name] for name in FIELDS},
                "model": embedder.name if embedder else None,
                "vector": vector,
            }
            for row, text, vector in zip(rows, texts, vectors, strict=True)
        ],
        schema=SCHEMA,
    )


def read_texts(path: Path) -> pl.DataFrame:
    """The table of texts.

    Raises:
        InputError: it was not made, or by another version.
    """
    if not path.is_file():
        raise InputError("there is nothing to search yet: make the dashboard first (autorisk dashboard)")
    table = pl.read_parquet(path)
    if dict(table.schema) != SCHEMA:
        raise InputError("the dashboard was made by another version: make it again (autorisk dashboard)")
    return table


def by_words(table: pl.DataFrame, query: str) -> list[Hit]:
    """Ranked by BM25 over all fields, other forms of a word included; a clip with more of the words comes first."""
    documents = [
        Counter(stem(word) for name in FIELDS for word in words(row[name])) for row in table.iter_rows(named=True)
    ]
    mean = sum(document.total() for document in documents) / (len(documents) or 1) or 1.0
    terms = {stem(word) for word in words(query)}
    rarity = {}
    for term in terms:
        holding = sum(1 for document in documents if term in document)
        rarity[term] = math.log(1 + (len(documents) - holding + 0.5) / (holding + 0.5))
    found = []
    for number, (row, document) in enumerate(zip(table.iter_rows(named=True), documents, strict=True)):
        present = [term for term in sorted(terms) if term in document]
        if present:
            length = 1 - _B + _B * document.total() / mean
            score = sum(rarity[t] * document[t] * (_K1 + 1) / (document[t] + _K1 * length) for t in present)
            found.append((-len(present), -score, number, Hit(row, score)))
    return [hit for *_, hit in sorted(found, key=lambda one: one[:3])]


def by_meaning(table: pl.DataFrame, query: str, embedder: Embedder) -> list[Hit]:
    """Every clip of which something was said, by the cosine of its texts with the query.

    Raises:
        InputError: the clips' vectors are not of this model.
    """
    made_by = table["model"].drop_nulls().unique().to_list()
    if made_by != [embedder.name] and not table.is_empty():
        raise InputError(
            f"the clips' vectors are of {', '.join(made_by) or 'no model'}, the query's of {embedder.name}: make the "
            "dashboard again with this model (autorisk dashboard)"
        )
    said = table.filter(pl.col("vector").is_not_null())
    if said.is_empty():
        return []
    scores = cosines(embedder.embed([query]), np.array(said["vector"].to_list(), np.int8))[0]
    rows = said.to_dicts()
    return [Hit(rows[at], float(scores[at])) for at in np.argsort(-scores, kind="stable")]
