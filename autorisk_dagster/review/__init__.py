"""What people say of clips: blind labels, verdicts on outputs, and the log and protocol that keep them honest."""
