"""State that outlives a frame: where stateful operators keep what others must find again."""
