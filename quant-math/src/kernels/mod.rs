//! Fake-quant kernels of the frameworks, each named after op and version.
