//! What can be wrong with outputs and labels.

use crate::MathError;

/// Outputs or labels that no number can be made of. The adapters give it their codes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// NaN that a model makes of finite data: a logarithm of a negative number, a division of 0 by 0.
    #[error("{who} gives NaN in `{tensor}` {samples}, whose data is finite")]
    Nan {
        /// Which model.
        who: String,
        /// Its tensor.
        tensor: String,
        /// `for sample 3`, or a batch.
        samples: String,
    },
    /// Labels that are not one whole number per sample.
    #[error("the labels `{name}` {wrong}")]
    Labels {
        /// The array.
        name: String,
        /// What is wrong with it.
        wrong: String,
    },
    /// A label that is the position of no score.
    #[error("the label of sample {sample} is {label}, expected a class from 0 to {}", classes.saturating_sub(1))]
    Label {
        /// The sample.
        sample: u64,
        /// Its label.
        label: i64,
        /// How many scores there are.
        classes: u64,
    },
    /// Outputs of two models that cannot be compared.
    #[error("`{tensor}` has shape {shape:?}, the reference's {reference:?}")]
    Shape {
        /// The output.
        tensor: String,
        /// Its shape.
        shape: Vec<u64>,
        /// The reference's.
        reference: Vec<u64>,
    },
    /// Numbers that cannot be counted.
    #[error("tensor `{tensor}`: {source}")]
    Math {
        /// The output.
        tensor: String,
        /// What is wrong with it.
        r#source: MathError,
    },
}

impl EvaluationError {
    /// NaN at position `at` of a tensor of that shape, which `who` gives. `samples` are the numbers of the samples that it is computed from,
    /// in their order.
    pub fn nan(who: &str, tensor: &str, shape: &[u64], at: usize, samples: &[u64]) -> Self {
        Self::Nan { who: who.to_owned(), tensor: tensor.to_owned(), samples: place(shape, at, samples) }
    }

    /// The way out.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Nan { .. } => Some(
                "an op of the model has no result for such data, as a logarithm has none for a negative number: leave such samples out, or mend the model",
            ),
            Self::Labels { .. } => {
                Some("labels are one whole number per sample: the position of the right score, counted from 0")
            }
            Self::Label { .. } => Some("labels are the positions of the right scores, counted from 0"),
            Self::Shape { .. } => Some("compare two forms of one model"),
            Self::Math { .. } => None,
        }
    }
}

/// The message where there are labels and no scores.
pub const NO_SCORES: &str = "no output of the model has one score per class ([samples, classes]), which labels need";

/// The labels `name` of `samples` samples as whole numbers.
///
/// # Errors
/// [`EvaluationError::Labels`] where they are not one whole number per sample.
pub fn labels(
    name: &str,
    samples: u64,
    shape: &[u64],
    values: impl IntoIterator<Item = f64>,
) -> Result<Vec<i64>, EvaluationError> {
    let wrong = |wrong: String| EvaluationError::Labels { name: name.to_owned(), wrong };
    if shape.iter().product::<u64>() != samples {
        return Err(wrong(format!("have shape {shape:?}, expected one per sample")));
    }
    let whole = |x: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number of few digits")]
        let label = x as i64;
        (x.fract().abs() <= 0.0 && x.abs() < 1e15).then_some(label)
    };
    let found: Option<Vec<i64>> = values.into_iter().map(whole).collect();
    found.ok_or_else(|| wrong("hold a number that is not whole".to_owned()))
}

/// The sample of the element at position `at` of a tensor, or all samples.
fn place(shape: &[u64], at: usize, samples: &[u64]) -> String {
    let one = shape.iter().skip(1).product::<u64>().max(1);
    let row = usize::try_from(at as u64 / one).ok().filter(|_| shape.first() == Some(&(samples.len() as u64)));
    match (row.and_then(|row| samples.get(row)), samples) {
        (Some(sample), _) | (None, [sample]) => format!("for sample {sample}"),
        (None, [first, .., last]) => {
            format!("for a batch of {} samples, the first {first}, the last {last}", samples.len())
        }
        (None, []) => "for no sample".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_named_where_it_is_known() {
        assert_eq!(place(&[3, 2], 2, &[4, 9, 2]), "for sample 9");
        assert_eq!(place(&[3], 2, &[4, 9, 2]), "for sample 2");
        assert_eq!(place(&[4], 3, &[4, 9, 2]), "for a batch of 3 samples, the first 4, the last 2");
        assert_eq!(place(&[], 0, &[4, 9]), "for a batch of 2 samples, the first 4, the last 9");
        assert_eq!(place(&[], 0, &[4]), "for sample 4");
    }

    #[test]
    fn labels_are_whole_and_one_per_sample() {
        assert_eq!(labels("label", 2, &[2, 1], [3.0, -1.0]), Ok(vec![3, -1]));
        let error = labels("label", 2, &[2], [3.0, 0.5]).unwrap_err();
        assert_eq!(error.to_string(), "the labels `label` hold a number that is not whole");
        assert!(labels("label", 1, &[1], [f64::NAN]).is_err() && labels("label", 1, &[1], [1e300]).is_err());
        let error = labels("label", 2, &[2, 10], [0.0; 20]).unwrap_err();
        assert_eq!(error.to_string(), "the labels `label` have shape [2, 10], expected one per sample");
    }
}
