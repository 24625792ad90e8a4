//! Which class wins: agreement of two models, and accuracy against labels.

use serde::{Deserialize, Serialize};

use crate::MathError;

/// How often the class that is meant came first, or among the first k.
///
/// Classes are ordered by their value, of equal ones the lower index first (as NumPy's and TensorFlow's `argmax` have it), so that
/// every row has one first class. All numbers are counts: merging parts is the whole, at any split and order.
///
/// ```
/// use quant_math::ranking::Ranking;
///
/// let mut ranking = Ranking::new(2);
/// // Two rows of three classes; the second label comes second.
/// ranking.against_labels(3, &[0, 2], &[5.0, 1.0, 1.0, 0.5, 0.9, 0.8])?;
/// assert_eq!((ranking.rows(), ranking.first(), ranking.among()), (2, 1, 2));
/// assert_eq!(ranking.top1(), Some(0.5));
/// # Ok::<(), quant_math::MathError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranking {
    k: usize,
    rows: u64,
    first: u64,
    among: u64,
}

impl Ranking {
    /// Nothing was counted yet.
    pub fn new(k: usize) -> Self {
        Self { k, rows: 0, first: 0, among: 0 }
    }

    /// Count rows of `classes` values: is the first class of `reference` the first of `values`, or among its first k? Nothing is
    /// counted where there is an error.
    ///
    /// # Errors
    /// [`MathError::Layout`] where the slices are no whole rows of the same number, [`MathError::NonFinite`] for NaN, which has no
    /// order (infinities have one).
    pub fn against_reference(&mut self, classes: usize, reference: &[f32], values: &[f32]) -> Result<(), MathError> {
        if reference.len() != values.len() {
            return Err(MathError::Layout { expected: reference.len(), found: values.len() });
        }
        ordered(reference)?;
        let targets: Vec<usize> = rows(classes, reference)?.map(first_of).collect();
        self.count(classes, &targets, values)
    }

    /// Count rows of `classes` values: is the row's label its first class, or among its first k? Nothing is counted where there
    /// is an error.
    ///
    /// # Errors
    /// [`MathError::Label`] for a label without a class, else those of [`against_reference`](Self::against_reference).
    pub fn against_labels(&mut self, classes: usize, labels: &[i64], values: &[f32]) -> Result<(), MathError> {
        let target = |(index, label): (usize, &i64)| {
            let class = usize::try_from(*label).ok().filter(|class| *class < classes);
            class.ok_or(MathError::Label { index, label: *label, classes })
        };
        let targets: Vec<usize> = labels.iter().enumerate().map(target).collect::<Result<_, _>>()?;
        self.count(classes, &targets, values)
    }

    fn count(&mut self, classes: usize, targets: &[usize], values: &[f32]) -> Result<(), MathError> {
        let found = rows(classes, values)?;
        if found.len() != targets.len() {
            return Err(MathError::Layout { expected: targets.len().saturating_mul(classes), found: values.len() });
        }
        ordered(values)?;
        for (row, target) in found.zip(targets) {
            let place = place_of(row, *target);
            self.rows += 1;
            self.first += u64::from(place == 0);
            self.among += u64::from(place < self.k);
        }
        Ok(())
    }

    /// What both have counted, with the k of `self`.
    ///
    /// # Errors
    /// [`MathError::OtherK`] where k differs, [`MathError::CountOverflow`].
    pub fn merge(self, other: Self) -> Result<Self, MathError> {
        if self.k != other.k {
            return Err(MathError::OtherK { found: other.k, expected: self.k });
        }
        let add = |a: u64, b: u64| a.checked_add(b).ok_or(MathError::CountOverflow);
        Ok(Self {
            k: self.k,
            rows: add(self.rows, other.rows)?,
            first: add(self.first, other.first)?,
            among: add(self.among, other.among)?,
        })
    }

    /// The k of "among the first k".
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Rows whose class came first.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Rows whose class came among the first k.
    pub fn among(&self) -> u64 {
        self.among
    }

    /// The share of rows whose class came first, 0 to 1; `None` before there is a row.
    pub fn top1(&self) -> Option<f64> {
        self.share(self.first)
    }

    /// The share of rows whose class came among the first k, 0 to 1; `None` before there is a row.
    pub fn top_k(&self) -> Option<f64> {
        self.share(self.among)
    }

    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 rows")]
    fn share(&self, of: u64) -> Option<f64> {
        (self.rows > 0).then(|| of as f64 / self.rows as f64)
    }
}

fn rows(classes: usize, values: &[f32]) -> Result<std::slice::ChunksExact<'_, f32>, MathError> {
    let whole = values.len().checked_rem(classes) == Some(0);
    // The rows that there are, for the message.
    let expected = values.len().checked_div(classes).unwrap_or(0).saturating_mul(classes);
    if whole { Ok(values.chunks_exact(classes)) } else { Err(MathError::Layout { expected, found: values.len() }) }
}

fn ordered(values: &[f32]) -> Result<(), MathError> {
    let nan = values.iter().position(|x| x.is_nan());
    nan.map_or(Ok(()), |index| Err(MathError::NonFinite { index, value: f64::NAN }))
}

/// The class that comes first.
fn first_of(row: &[f32]) -> usize {
    let best = row.iter().enumerate().reduce(|a, b| if b.1 > a.1 { b } else { a });
    best.map_or(0, |(class, _)| class)
}

/// How many classes come before `class`.
fn place_of(row: &[f32], class: usize) -> usize {
    let Some(value) = row.get(class) else { return row.len() };
    let before = |(other, x): (usize, &f32)| x > value || (x >= value && other < class);
    row.iter().enumerate().filter(|entry| before(*entry)).count()
}
