"""A fitted estimator as a computation, and that as a scikit-learn model or an ONNX graph."""
