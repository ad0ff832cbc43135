"""The fleet's dashboard: a static site of seven pages over all videos.

`write_dashboard` turns a `FleetData` into files that open from a folder or from any web server: HTML pages that are
readable without a script, data in JavaScript chunks (a page opened from a folder may not fetch), Plotly beside them,
and relative links to the media store that the site lies in. Nothing is asked of the network.
"""

from autorisk_dagster.reporting.dashboard.fleet_data import FleetData, PipelineNode, TableStore
from autorisk_dagster.reporting.dashboard.site import Written, write_dashboard

__all__ = ["FleetData", "PipelineNode", "TableStore", "Written", "write_dashboard"]
