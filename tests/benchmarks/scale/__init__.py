"""What the graph costs with 1,000 to 100,000 videos in its history."""
