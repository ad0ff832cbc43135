"""AutoRisk: from a fleet's dashcam footage to ranked, explained and auditable danger."""

from autorisk_dagster.threads import limit_libraries

limit_libraries()  # before anything imports a library that reads it

__version__ = "0.4.0"
