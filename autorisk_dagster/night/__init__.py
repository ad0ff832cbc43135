"""The fleet at night, as decisions: what to request, what it costs, what is broken, whom to tell. No Dagster here."""
