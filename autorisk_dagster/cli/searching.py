"""`autorisk search`: clips by what was said of them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.paths import EMBEDDING_MODEL
from autorisk_dagster.storage import data_storage


@click.command()
@click.argument("query", nargs=-1, required=True, metavar="WORDS...")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 1000), help="clips to print")
@click.option("--words", "only_words", is_flag=True, help="by words, even where an embedding model is configured")
def search(query: tuple[str, ...], limit: int, only_words: bool) -> None:
    """Print the clips that answer WORDS, best first: by meaning where AUTORISK_EMBEDDING_MODEL names the folder of a
    sentence model, else by words (BM25). The dashboard must have been made.
    """
    from autorisk_dagster.reporting.dashboard import fleet_search
    from autorisk_dagster.reporting.words import clock

    asked, folder = " ".join(query), os.environ.get(EMBEDDING_MODEL)
    try:
        table = fleet_search.read_texts(data_storage().at("media").path(str(fleet_search.TEXTS)))
        if folder and not only_words:
            from autorisk_dagster.reporting.text_embeddings import SentenceModel

            model = SentenceModel(Path(folder))
            hits, how = fleet_search.by_meaning(table, asked, model), f"by meaning, {model.name}"
        else:
            hits, how = fleet_search.by_words(table, asked), "by words (BM25)"
    except AutoRiskError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(hits)} of {table.height} clips, {how}")
    for hit in hits[:limit]:
        row = hit.row
        said = " ".join((row["reasoning"] or row["evidence"] or row["hazards"]).split())
        when = f"{clock(row['start_sec'])} to {clock(row['end_sec'])}"
        click.echo(f"{hit.score:6.2f}  {row['severity'] or 'NOT JUDGED':10}  {row['clip_id']}  {when}  {said[:100]}")
