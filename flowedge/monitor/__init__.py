"""What a run tells about itself: distributions, counts and the report."""
