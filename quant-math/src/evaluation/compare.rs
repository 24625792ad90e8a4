//! An output of a model, batch by batch, beside a reference's or alone.

use super::classes::Classes;
use super::{EvaluationError, OutputReport};
use crate::metrics::MetricsAccumulator;

/// What came out of a run.
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'a> {
    /// Its dimensions.
    pub shape: &'a [u64],
    /// Its elements, rounded to float32: what is compared is compared in float32.
    pub values: &'a [f32],
    /// Whether they were floating-point numbers; others are no scores.
    pub is_float: bool,
}

/// The samples of a run.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    /// The number of the first one.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Their right classes, where they are known.
    pub labels: Option<&'a [i64]>,
}

/// Everything that was seen of an output.
///
/// ```
/// use quant_math::evaluation::{Comparison, Samples, Tensor};
///
/// let mut logits = Comparison::new("logits", 5);
/// let tensor = |values| Tensor { shape: &[1, 2], values, is_float: true };
/// let samples = Samples { first: 0, count: 1, labels: Some(&[1]) };
/// logits.add(tensor(&[0.0, 3.0]), Some(tensor(&[0.0, 4.0])), samples)?;
/// let report = logits.report();
/// assert_eq!(report.error.map(|error| error.max_error), Some(1.0));
/// assert_eq!(report.accuracy.map(|accuracy| accuracy.model), Some(1.0));
/// # Ok::<(), quant_math::evaluation::EvaluationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Comparison {
    name: String,
    /// `None` where there is no reference.
    sums: Option<MetricsAccumulator>,
    /// `None` where a batch was not one score per class.
    classes: Option<Classes>,
}

impl Comparison {
    /// Nothing was seen yet; `top_k` is the k of top-k agreement.
    pub fn new(name: &str, top_k: usize) -> Self {
        Self { name: name.to_owned(), sums: None, classes: Some(Classes::new(top_k)) }
    }

    /// The output.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Add a batch: the model's own tensor and the reference's.
    ///
    /// # Errors
    /// NaN; tensors of different shapes; a label without a score.
    pub fn add(
        &mut self,
        own: Tensor<'_>,
        reference: Option<Tensor<'_>>,
        samples: Samples<'_>,
    ) -> Result<(), EvaluationError> {
        self.refuse_nan("the model", own, samples)?;
        if let Some(reference) = reference {
            self.refuse_nan("the reference", reference, samples)?;
            if reference.shape != own.shape {
                let (shape, reference) = (own.shape.to_vec(), reference.shape.to_vec());
                return Err(EvaluationError::Shape { tensor: self.name.clone(), shape, reference });
            }
            self.sums.get_or_insert_default().update(reference.values, own.values);
        }
        if let Some(classes) = &mut self.classes
            && !classes.add(&self.name, own, reference, samples)?
        {
            self.classes = None;
        }
        Ok(())
    }

    /// What was added, in numbers.
    pub fn report(&self) -> OutputReport {
        OutputReport {
            name: self.name.clone(),
            error: self.sums.map(|sums| sums.finish()),
            agreement: self.classes.as_ref().and_then(Classes::agreement),
            accuracy: self.classes.as_ref().and_then(Classes::accuracy),
        }
    }

    fn refuse_nan(&self, who: &str, tensor: Tensor<'_>, samples: Samples<'_>) -> Result<(), EvaluationError> {
        let Some(at) = tensor.values.iter().position(|x| x.is_nan()) else { return Ok(()) };
        let numbers: Vec<u64> = (samples.first..samples.first.saturating_add(samples.count)).collect();
        Err(EvaluationError::nan(who, &self.name, tensor.shape, at, &numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores<'a>(shape: &'a [u64], values: &'a [f32]) -> Tensor<'a> {
        Tensor { shape, values, is_float: true }
    }

    fn samples(first: u64, labels: Option<&[i64]>) -> Samples<'_> {
        Samples { first, count: 2, labels }
    }

    #[test]
    fn batches_add_up() {
        let mut output = Comparison::new("logits", 2);
        let reference = scores(&[2, 3], &[3.0, 0.0, 0.0, 0.0, 4.0, 0.0]);
        output
            .add(scores(&[2, 3], &[3.0, 0.0, 1.0, 5.0, 4.0, 0.0]), Some(reference), samples(0, Some(&[0, 1])))
            .unwrap();
        output.add(reference, Some(reference), samples(2, Some(&[0, 2]))).unwrap();
        let report = output.report();
        let (error, agreement, accuracy) = (report.error.unwrap(), report.agreement.unwrap(), report.accuracy.unwrap());
        // Σ x² = 50, Σ (x − y)² = 26.
        assert_eq!(error.max_error.to_bits(), 5.0_f64.to_bits());
        approx::assert_relative_eq!(error.sqnr_db.unwrap(), 10.0 * (50.0_f64 / 26.0).log10(), max_relative = 4e-16);
        // Of four samples: both choose alike in three, the labels are the model's in two and the reference's in three.
        let found = [agreement.top_1, agreement.top_k, accuracy.model, accuracy.reference.unwrap()];
        assert_eq!(found.map(f64::to_bits), [0.75, 1.0, 0.5, 0.75].map(f64::to_bits));
    }

    #[test]
    fn what_is_no_score_has_an_error_alone() {
        let mut output = Comparison::new("boxes", 5);
        let values = [1.0; 4];
        let whole = Tensor { is_float: false, ..scores(&[2, 2], &values) };
        output.add(whole, Some(whole), samples(0, Some(&[0, 0]))).unwrap();
        let report = output.report();
        assert_eq!((report.agreement, report.accuracy), (None, None));
        assert!(report.error.unwrap().sqnr_db.is_none());
        assert!(Comparison::new("alone", 5).report().error.is_none());
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        let said = |own, reference, labels: &[i64]| {
            let error = Comparison::new("logits", 5).add(own, reference, samples(10, Some(labels))).unwrap_err();
            error.to_string()
        };
        let good = scores(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let nan = scores(&[2, 2], &[1.0, 2.0, f32::NAN, 4.0]);
        assert_eq!(said(nan, None, &[0, 0]), "the model gives NaN in `logits` for sample 11, whose data is finite");
        assert_eq!(
            said(good, Some(nan), &[0, 0]),
            "the reference gives NaN in `logits` for sample 11, whose data is finite"
        );
        assert_eq!(
            said(good, Some(scores(&[4], good.values)), &[0, 0]),
            "`logits` has shape [2, 2], the reference's [4]"
        );
        assert_eq!(said(good, None, &[0, 2]), "the label of sample 11 is 2, expected a class from 0 to 1");
    }
}
