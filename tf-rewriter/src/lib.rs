//! Quantize TensorFlow graphs.
