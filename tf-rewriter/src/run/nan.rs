//! NaN that a model makes of finite data: a logarithm of a negative number, a division of 0 by 0.

use std::path::Path;

use super::RunError;
use super::value::Value;

/// Refuse NaN in a tensor that `who` gives. `samples` are the numbers of the samples that it is computed from, in their order.
///
/// # Errors
/// [`RunError::Data`] with the tensor, and the sample where the tensor's first dimension is the samples'.
pub(super) fn refuse(who: &str, tensor: &str, value: &Value, samples: &[u64], path: &Path) -> Result<(), RunError> {
    let Some(at) = value.first_nan() else { return Ok(()) };
    let message = format!("{who} gives NaN in `{tensor}` {}, whose data is finite", place(value.shape(), at, samples));
    let help = "an op of the model has no result for such data, as a logarithm has none for a negative number: leave such samples out, or mend the model";
    Err(super::data::data(path, message, help))
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
    use super::place;

    #[test]
    fn the_sample_is_named_where_it_is_known() {
        assert_eq!(place(&[3, 2], 2, &[4, 9, 2]), "for sample 9");
        assert_eq!(place(&[3], 2, &[4, 9, 2]), "for sample 2");
        assert_eq!(place(&[4], 3, &[4, 9, 2]), "for a batch of 3 samples, the first 4, the last 2");
        assert_eq!(place(&[], 0, &[4, 9]), "for a batch of 2 samples, the first 4, the last 9");
        assert_eq!(place(&[], 0, &[4]), "for sample 4");
    }
}
