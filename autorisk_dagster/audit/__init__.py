"""The audit pack: what a verdict rests on, in one file that can be checked without this project's data or Dagster."""
