"""AutoRisk: from a fleet's dashcam footage to ranked, explained and auditable danger."""

__version__ = "0.3.0"
