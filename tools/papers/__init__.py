"""The papers that FlowEdge builds on, measured again: one command each."""
