"""Pure array code on boxes and tracks: overlap, suppression, tiles, matching, tracking, evaluation."""
