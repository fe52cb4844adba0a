"""Trains the detector that ships with FlowEdge, `flowedge/inference/weights/street.onnx`, on drawn streets."""
