//! How data is run through archives, and what every script is asked for.

use std::path::Path;

use quant_math::DType;
use serde_json::{Value, json};

/// How data is run through an archive.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// The interpreter.
    pub python: &'a Path,
    /// A `.npz`, a `.npy`, or a folder of them.
    pub data: &'a Path,
    /// Samples that run at once.
    pub batch: u64,
    /// Arguments of `forward` that are the same in every run.
    pub feeds: &'a [(String, Value)],
    /// PyTorch's threads.
    pub threads: Option<usize>,
    /// Let Python's own words through to standard error.
    pub verbose: bool,
}

impl Running<'_> {
    /// What a script is told, with what it alone wants to know. Floating-point data becomes `float`, where that is known.
    pub(super) fn request(&self, float: Option<DType>, more: Value) -> String {
        let float = float.map(|float| match float {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::F32 => "float32",
            DType::F64 => "float64",
        });
        let mut request = json!({ "batch": self.batch, "threads": self.threads, "feeds": self.feeds, "float": float });
        if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
            request.extend(more);
        }
        request.to_string()
    }
}
