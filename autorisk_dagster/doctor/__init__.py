"""What a run needs, checked one thing at a time; each check says what it found and how to mend it."""
