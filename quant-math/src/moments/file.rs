//! The file of moments: a safetensors file, which NumPy, PyTorch and TensorFlow users can open.
//!
//! Each layer has two tensors, `OP/mean` and `OP/second` ([`LayerMoments::mean`], [`LayerMoments::second`]); what is known of all stands in
//! `__metadata__`. Source of the format: the crate `safetensors`, 0.8.

use std::borrow::Cow;
use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use super::{Inputs, LayerMoments, Moments};
use crate::ranges::ModelId;

/// The version of the file; raised when a field changes its meaning.
const VERSION: u32 = 1;
/// The entry of `__metadata__` that holds [`About`].
const KEY: &str = "quantization-toolkit";

/// A file of moments that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MomentsError {
    /// No file of moments at all.
    #[error("no file of moments: {0}")]
    Form(String),
    /// A version that is not known.
    #[error("the moments are of version {found}, expected {VERSION}")]
    Version {
        /// What the file says.
        found: u32,
    },
    /// The tensors of a layer are missing, or are no moments.
    #[error("the moments of layer `{op}`: {message}")]
    Layer {
        /// The layer's op.
        op: String,
        /// What is wrong.
        message: String,
    },
    /// They were measured on another model.
    #[error("the moments were measured on `{file}` ({found}), expected the model {expected}")]
    OtherModel {
        /// The name of that model's file.
        file: String,
        /// Its fingerprint.
        found: String,
        /// The fingerprint of the model in hand.
        expected: String,
    },
    /// Parts that do not belong together.
    #[error("the moments cannot be joined: {what}")]
    Merge {
        /// What differs.
        what: String,
    },
}

impl MomentsError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "R0111",
            Self::Version { .. } => "R0112",
            Self::Layer { .. } => "R0113",
            Self::OtherModel { .. } => "R0114",
            Self::Merge { .. } => "R0115",
        }
    }

    /// The way out.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Form(_) | Self::Layer { .. } => "`calibrate MODEL --data D --moments FILE` makes it",
            Self::Version { .. } => "measure again with this version: `calibrate MODEL --data D --moments FILE`",
            Self::OtherModel { .. } => "measure on this model: `calibrate MODEL --data D --moments FILE`",
            Self::Merge { .. } => {
                "join moments of one model and one config, each over samples that no other one has seen"
            }
        }
    }
}

/// What is known of all layers.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    version: u32,
    framework: String,
    model: ModelId,
    samples: u64,
    layers: BTreeMap<String, AboutLayer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct AboutLayer {
    groups: usize,
    inputs: usize,
    rows: u64,
}

/// Numbers on their way into a file.
struct Numbers<'a> {
    shape: [usize; 2],
    values: &'a [f32],
}

impl View for Numbers<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

impl Moments {
    /// The file's bytes.
    ///
    /// # Errors
    /// [`MomentsError::Form`] for names that the format does not take.
    pub fn to_bytes(&self) -> Result<Vec<u8>, MomentsError> {
        let layers = self.layers.iter().map(|(op, layer)| {
            let Inputs { groups, inputs } = layer.inputs();
            (op.clone(), AboutLayer { groups, inputs, rows: layer.rows() })
        });
        let about = About {
            version: VERSION,
            framework: self.framework.clone(),
            model: self.model.clone(),
            samples: self.samples,
            layers: layers.collect(),
        };
        let about = serde_json::to_string(&about).map_err(|error| MomentsError::Form(error.to_string()))?;
        let tensors = self.layers.iter().flat_map(|(op, layer)| {
            let Inputs { groups, inputs } = layer.inputs();
            let products = layer.inputs().products();
            [
                (format!("{op}/mean"), Numbers { shape: [groups, inputs], values: layer.mean() }),
                (format!("{op}/second"), Numbers { shape: [groups, products], values: layer.second() }),
            ]
        });
        #[expect(clippy::disallowed_types, reason = "what the crate takes; of one entry there is one order")]
        let about = std::collections::HashMap::from([(KEY.to_owned(), about)]);
        safetensors::serialize(tensors, Some(about)).map_err(|error| MomentsError::Form(error.to_string()))
    }

    /// Read and check a file's bytes.
    ///
    /// # Errors
    /// [`MomentsError`]: what is no such file, or has a version that is not known, or tensors that are no moments.
    pub fn parse(bytes: &[u8]) -> Result<Self, MomentsError> {
        let form = |error: safetensors::SafeTensorError| MomentsError::Form(error.to_string());
        let (_, head) = SafeTensors::read_metadata(bytes).map_err(form)?;
        let about = head.metadata().as_ref().and_then(|all| all.get(KEY));
        let about =
            about.ok_or_else(|| MomentsError::Form(format!("a safetensors file without `{KEY}` in its metadata")))?;
        let about: About = serde_json::from_str(about).map_err(|error| MomentsError::Form(error.to_string()))?;
        if about.version != VERSION {
            return Err(MomentsError::Version { found: about.version });
        }
        let file = SafeTensors::deserialize(bytes).map_err(form)?;
        let mut layers = BTreeMap::new();
        for (op, AboutLayer { groups, inputs, rows }) in about.layers {
            let wrong = |message: String| MomentsError::Layer { op: op.clone(), message };
            let numbers = |what: &str| -> Result<Vec<f32>, MomentsError> {
                let tensor = file.tensor(&format!("{op}/{what}")).map_err(|error| wrong(error.to_string()))?;
                if tensor.dtype() != Dtype::F32 {
                    return Err(wrong(format!("`{what}` is of {:?}, expected F32", tensor.dtype())));
                }
                Ok(tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            };
            let layer = LayerMoments::new(Inputs { groups, inputs }, rows, numbers("mean")?, numbers("second")?);
            let expected =
                format!("expected finite means and second moments of {groups} · {inputs} inputs over some rows");
            layers.insert(op.clone(), layer.ok_or_else(|| wrong(expected))?);
        }
        let About { framework, model, samples, .. } = about;
        Ok(Self { framework, model, samples, layers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments() -> Moments {
        let inputs = Inputs { groups: 2, inputs: 2 };
        let layer = LayerMoments::new(inputs, 7, vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 0.5, 2.0, 9.0, -1.0, 16.0]);
        Moments {
            framework: "tensorflow 2.21.0".to_owned(),
            model: ModelId { file: "m.pb".to_owned(), fingerprint: "crc32c:00000000:0".to_owned() },
            samples: 7,
            layers: BTreeMap::from([("block/conv".to_owned(), layer.unwrap())]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = moments().to_bytes().unwrap();
        assert_eq!(Moments::parse(&bytes), Ok(moments()));
        assert_eq!(moments().to_bytes().unwrap(), bytes, "the same moments are the same bytes");
    }

    #[test]
    fn damaged_files_say_what_is_wrong() {
        let bytes = moments().to_bytes().unwrap();
        for cut in 0..bytes.len() {
            assert!(matches!(Moments::parse(&bytes[..cut]), Err(MomentsError::Form(_))), "cut at {cut}");
        }
        let edited = |from: &str, to: &str| {
            assert_eq!(from.len(), to.len());
            let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            let mut edited = bytes.clone();
            edited[at..at + to.len()].copy_from_slice(to.as_bytes());
            Moments::parse(&edited).unwrap_err()
        };
        assert_eq!(edited("version\\\":1", "version\\\":9"), MomentsError::Version { found: 9 });
        assert_eq!(edited("inputs\\\":2", "inputs\\\":3").code(), "R0113");
        assert_eq!(edited("quantization-toolkit", "quantization-toolbox").code(), "R0111");
        assert_eq!(edited("block/conv/mean", "block/conv/moan").code(), "R0113");
        let mut nan = bytes.clone();
        let at = nan.len() - 4;
        nan[at..].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(Moments::parse(&nan).unwrap_err().code(), "R0113");
    }
}
