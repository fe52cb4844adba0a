"""Trains `flowedge/weights/street.onnx`, the detector that ships with FlowEdge, on synthetic streets."""
