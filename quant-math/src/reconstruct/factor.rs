//! `H + λ·I = (M + I)·D·(M + I)ᵀ`: a Cholesky factorization that begins at the last row.

use crate::moments::triangle;
use crate::simd;

/// λ as a part of the mean of `H`'s diagonal (Frantar et al. 2022, §3.3).
const DAMPING: f64 = 0.01;
/// How often λ is made ten times as large where rounding has left `H` without a factorization.
const TRIES: u32 = 8;
/// Rows that are subtracted in one go.
const TOGETHER: usize = 4;

/// The factors of a block of second moments, its inputs in descending order of the diagonal.
#[derive(Debug)]
pub(super) struct Factor {
    /// Which input comes when.
    order: Vec<usize>,
    /// `M_ik`, `i < k`, for each `k` in turn; at `i = k` stands 1.
    rows: Vec<f64>,
    /// `D`.
    diagonal: Vec<f64>,
}

impl Factor {
    /// The factors of the symmetric matrix with this lower triangle.
    pub(super) fn of(side: usize, second: &[f32]) -> Self {
        let at = |row: usize, column: usize| {
            let (row, column) = (row.max(column), row.min(column));
            second.get(triangle(row) + column).copied().map_or(0.0, f64::from)
        };
        let mut order: Vec<usize> = (0..side).collect();
        order.sort_by(|a, b| at(*b, *b).total_cmp(&at(*a, *a)).then(a.cmp(b)));
        #[expect(clippy::cast_precision_loss, reason = "a number of inputs")]
        let mean = order.iter().map(|input| at(*input, *input)).sum::<f64>() / side.max(1) as f64;
        // Of inputs that are always 0, any rounding is right.
        let mut damping = if mean > 0.0 { DAMPING * mean } else { 1.0 };
        for _ in 0..TRIES {
            let mut rows = Vec::with_capacity(triangle(side));
            for (k, row) in order.iter().enumerate() {
                rows.extend(order.iter().take(k + 1).map(|column| at(*row, *column)));
                rows.last_mut().into_iter().for_each(|last| *last += damping);
            }
            if factorize(side, &mut rows) {
                return Self::scaled(order, rows);
            }
            damping *= 10.0;
        }
        // Nothing is made up for.
        let diagonal = order.iter().map(|input| at(*input, *input).max(0.0) + damping).collect();
        let mut rows = vec![0.0; triangle(side)];
        (0..side).filter_map(|k| triangle(k + 1).checked_sub(1)).for_each(|last| {
            rows.get_mut(last).into_iter().for_each(|one| *one = 1.0);
        });
        Self { order, rows, diagonal }
    }

    fn scaled(order: Vec<usize>, mut rows: Vec<f64>) -> Self {
        let mut diagonal = Vec::with_capacity(order.len());
        for k in 0..order.len() {
            let row = rows.get_mut(triangle(k)..triangle(k + 1)).unwrap_or_default();
            let root = row.last().copied().unwrap_or(1.0);
            for x in row {
                *x /= root;
            }
            diagonal.push(root * root);
        }
        Self { order, rows, diagonal }
    }

    /// Which input comes when.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// For each input in its turn: `M_ik` of all before it, and `D_kk`.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&[f64], f64)> {
        self.diagonal
            .iter()
            .enumerate()
            .map(|(k, d)| (self.rows.get(triangle(k)..triangle(k) + k).unwrap_or_default(), *d))
    }
}

/// `R` with `H = R·Rᵀ`, upper triangular, in the place of `H`'s lower triangle: row `k` holds column `k` of `R`. `false` where there is none.
fn factorize(side: usize, rows: &mut [f64]) -> bool {
    simd::run(
        #[inline(always)]
        || {
            for k in (0..side).rev() {
                let (head, tail) = rows.split_at_mut(triangle(k + 1));
                let Some(own) = head.get_mut(triangle(k)..) else { return false };
                subtract(k, own, tail);
                let Some(pivot) = own.last().copied().filter(|pivot| *pivot > 0.0 && pivot.is_finite()) else {
                    return false;
                };
                let root = pivot.sqrt();
                for x in own {
                    *x /= root;
                }
            }
            true
        },
    )
}

/// Subtract from row `k` what the rows behind it, which lie in `tail`, have taken of it.
#[inline(always)]
fn subtract(k: usize, own: &mut [f64], mut tail: &[f64]) {
    let mut length = k + 2;
    let mut next = || {
        let (row, rest) = tail.split_at_checked(length)?;
        tail = rest;
        length += 1;
        let row = row.get(..=k)?;
        Some((row, row.last().copied()?))
    };
    loop {
        let four: [_; TOGETHER] = std::array::from_fn(|_| next());
        if let [Some((r0, a0)), Some((r1, a1)), Some((r2, a2)), Some((r3, a3))] = four {
            for ((((x, b0), b1), b2), b3) in own.iter_mut().zip(r0).zip(r1).zip(r2).zip(r3) {
                *x = *x - a0 * b0 - a1 * b1 - a2 * b2 - a3 * b3;
            }
            continue;
        }
        for (row, a) in four.into_iter().flatten() {
            own.iter_mut().zip(row).for_each(|(x, b)| *x -= a * b);
        }
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factors_multiply_to_what_they_are_of() {
        for side in [1, 2, 5, 23, 64] {
            // Wᵀ·W of numbers without a pattern, and two inputs that are always 0.
            let number = |row: usize, column: usize| {
                f64::from(u8::try_from((row * 31 + column * 17 + row * column * 7) % 101).unwrap()) / 50.0 - 1.0
            };
            let input = |row: usize, column: usize| if column % 13 == 3 { 0.0 } else { number(row, column) };
            let h = |i: usize, j: usize| (0..2 * side).map(|row| input(row, i) * input(row, j)).sum::<f64>();
            let mut second = Vec::new();
            for i in 0..side {
                #[expect(clippy::cast_possible_truncation, reason = "as moments are kept")]
                second.extend((0..=i).map(|j| h(i, j) as f32));
            }
            let factor = Factor::of(side, &second);
            let mean = (0..side).map(|i| h(i, i)).sum::<f64>() / f64::from(u32::try_from(side).unwrap());
            let steps: Vec<_> = factor.steps().map(|(m, d)| (m.to_vec(), d)).collect();
            let r = |i: usize, k: usize| match i.cmp(&k) {
                std::cmp::Ordering::Less => steps[k].0[i],
                std::cmp::Ordering::Equal => 1.0,
                std::cmp::Ordering::Greater => 0.0,
            };
            for i in 0..side {
                for j in 0..side {
                    let product: f64 = (0..side).map(|k| r(i, k) * steps[k].1 * r(j, k)).sum();
                    let damping = if i == j { DAMPING * mean } else { 0.0 };
                    let expected = h(factor.order()[i], factor.order()[j]) + damping;
                    // Moments are rounded to float32: 2^-24 of numbers up to the largest of the diagonal.
                    let bound = 2.0 * f64::from(f32::EPSILON) * h(factor.order()[0], factor.order()[0]);
                    assert!((product - expected).abs() <= bound, "{side}: ({i}, {j}) {product} {expected}");
                }
            }
            assert!(factor.order().windows(2).all(|pair| h(pair[0], pair[0]) >= h(pair[1], pair[1])));
        }
    }

    #[test]
    fn what_has_no_factors_is_damped_until_it_has_some() {
        // Not the second moments of anything: x·y is more than x² and y² allow.
        let factor = Factor::of(2, &[1.0, 5.0, 1.0]);
        assert!(factor.steps().all(|(m, d)| d > 0.0 && m.iter().all(|x| x.is_finite())));
        let zeros = Factor::of(3, &[0.0; 6]);
        assert!(zeros.steps().all(|(m, d)| d > 0.0 && m.iter().all(|x| *x == 0.0)));
    }
}
