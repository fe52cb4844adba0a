"""Neural networks: which file, which engine, how a picture goes in and boxes come out."""
