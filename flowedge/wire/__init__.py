"""Values as bytes and back: one block for every value, the same in Zenoh, shared memory and recordings."""
