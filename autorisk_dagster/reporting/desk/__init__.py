"""The two pages at which people work: blind labels, and verdicts on outputs; served to this machine alone."""
