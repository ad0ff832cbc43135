"""How new results must be; Dagster's UI shows where they are not."""

import datetime as dt

import dagster as dg

# Made at the end of each night: one night that failed is a warning, two in a row are a failure. Chosen here.
EACH_NIGHT = dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(hours=50), warn_window=dt.timedelta(hours=26))

# Of any video: a fleet that drives brings footage within a few days. Chosen here.
EACH_WEEK = dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(days=7), warn_window=dt.timedelta(days=3))
