"""Models on this machine: the catalogue, verified files, weights made into ONNX graphs, batched sessions."""
