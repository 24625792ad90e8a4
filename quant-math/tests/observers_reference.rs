//! Entropy and squared error of clips against references that go by the definition, one candidate at a time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use proptest::prelude::*;
use quant_math::observers::{Histogram, entropy, mse};
use quant_math::{Affine, Grid, Range};

/// Numbers with a bell's shape and long tails.
fn bell(len: usize, offset: f32) -> Vec<f32> {
    support::noise(0x9e37_79b9_7f4a_7c15, len, offset)
}

fn relu(data: &[f32]) -> Vec<f32> {
    data.iter().map(|x| x.max(0.0)).collect()
}

fn histogram(data: &[f32]) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.observe(data).unwrap();
    histogram
}

fn samples() -> Vec<Histogram> {
    let with_outlier = [bell(20_000, 0.0), vec![900.0]].concat();
    let all = [
        bell(20_000, 0.0),
        relu(&bell(20_000, 0.3)),
        bell(300, 2.0),
        bell(5_000, -40.0),
        bell(5_000, 90.0),
        with_outlier,
        vec![3.0; 9],
        vec![-3.0, 0.0, 0.0],
        vec![0.0; 4],
    ];
    all.iter().map(|data| histogram(data)).collect()
}

fn grid(bits: u32, symmetric: bool) -> Grid {
    if symmetric { Grid::signed_narrow(bits) } else { Grid::unsigned(bits) }.unwrap()
}

fn affine(range: Range, grid: Grid, symmetric: bool) -> Affine {
    if symmetric { Affine::symmetric(range, grid) } else { Affine::asymmetric(range, grid) }.unwrap()
}

fn clip(whole: Range, low: f64, high: f64) -> Range {
    #[expect(clippy::cast_possible_truncation, reason = "edges and ends are float32")]
    let end = |x: f32| f64::from(x).clamp(low, high) as f32;
    Range { min: end(whole.min), max: end(whole.max) }
}

fn real(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// `Σ P·ln(P/Q)` with both distributions written out, for the clip at `edge` bins from zero.
fn divergence(histogram: &Histogram, edge: i32, grid: Grid, symmetric: bool) -> Option<f64> {
    let whole = histogram.range().unwrap();
    let reach = f64::from(edge) * histogram.width();
    let affine = affine(clip(whole, -reach, reach), grid, symmetric);
    let count = |bin: i32| match histogram.count(bin) {
        centre if bin == 0 => centre.min(histogram.count(-1) + histogram.count(1)),
        count => count,
    };
    let inside: Vec<i32> = (1 - edge..edge).filter(|bin| count(*bin) > 0).collect();
    let sum = |bins: &mut dyn Iterator<Item = i32>| bins.map(|bin| real(count(bin))).sum::<f64>();
    let (below, above) = (sum(&mut (-2047..=-edge)), sum(&mut (edge..=2047)));
    let mut p: Vec<f64> = inside.iter().map(|bin| real(count(*bin))).collect();
    if inside.len() == 1 && below + above > 0.0 {
        return None;
    }
    *p.first_mut()? += below;
    *p.last_mut()? += above;
    let codes: Vec<i32> = inside
        .iter()
        .map(|bin| {
            let (low, high) = histogram.edges(*bin);
            #[expect(clippy::cast_possible_truncation, reason = "the middle in float32")]
            let middle = f64::midpoint(low, high) as f32;
            affine.quantize(middle)
        })
        .collect();
    let q: Vec<f64> = codes
        .iter()
        .map(|code| {
            let same = || inside.iter().zip(&codes).filter(|(_, c)| *c == code).map(|(bin, _)| *bin);
            sum(&mut same()) / f64::from(u32::try_from(same().count()).unwrap())
        })
        .collect();
    let (all, kept) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
    Some(p.iter().zip(&q).map(|(p, q)| p / all * (p / all / (q / kept)).ln()).sum())
}

#[test]
fn entropy_is_least_at_its_clip() {
    for (sample, histogram) in samples().iter().enumerate() {
        let whole = histogram.range().unwrap();
        let outermost = histogram.bins().map(|(bin, _)| bin.abs()).max().unwrap() + 1;
        for (bits, symmetric) in [(8, false), (8, true), (4, false), (6, true)] {
            let (grid, width) = (grid(bits, symmetric), histogram.width());
            let found = entropy(histogram, grid, symmetric).unwrap();
            let mut least = f64::INFINITY;
            let mut at_found = f64::INFINITY;
            // Every candidate near the found one, and one in seven of the others.
            let reach = f64::from(found.max.max(-found.min)) / width;
            for edge in (1..=outermost).filter(|edge| edge % 7 == 0 || (f64::from(*edge) - reach).abs() < 9.0) {
                let range = clip(whole, -f64::from(edge) * width, f64::from(edge) * width);
                let step = f64::from(affine(range, grid, symmetric).scale());
                if step < width && edge < outermost {
                    continue;
                }
                let Some(divergence) = divergence(histogram, edge, grid, symmetric) else { continue };
                least = least.min(divergence);
                if range == found {
                    at_found = at_found.min(divergence);
                }
            }
            if least.is_infinite() {
                // Zeros alone: no clip loses anything.
                assert_eq!(found, whole);
                continue;
            }
            // Each of 4,095 terms of at most ln(20,001) < 10 rounds a few times, here and there.
            let bound = 4.0 * 4095.0 * 10.0 * f64::EPSILON;
            assert!(
                at_found.is_finite() && at_found <= least + bound,
                "{sample}, {bits} {symmetric}: {at_found} {least}"
            );
        }
    }
}

/// The expected squared error of a range: for each bin and each code, the parabola over what they have in common.
fn error(histogram: &Histogram, range: Range, grid: Grid, symmetric: bool) -> f64 {
    let affine = affine(range, grid, symmetric);
    let half = f64::from(affine.scale()) / 2.0;
    let mut sum = 0.0;
    for (bin, count) in histogram.bins() {
        let (low, high) = histogram.edges(bin);
        for code in grid.quant_min()..=grid.quant_max() {
            let value = f64::from(affine.dequantize(code));
            let from = if code == grid.quant_min() { low } else { low.max(value - half) };
            let to = if code == grid.quant_max() { high } else { high.min(value + half) };
            if to > from {
                let third = |x: f64| (x - value).powi(3) / 3.0;
                sum += real(count) * (third(to) - third(from)) / (high - low);
            } else if high <= low && from <= low && low <= to {
                sum += real(count) * (low - value).powi(2);
            }
        }
    }
    sum
}

#[test]
fn squared_error_is_least_at_its_clip() {
    for (sample, histogram) in samples().iter().enumerate() {
        let whole = histogram.range().unwrap();
        for (bits, symmetric) in [(3, false), (3, true), (2, false), (8, false)] {
            let (grid, width) = (grid(bits, symmetric), histogram.width());
            let found = mse(histogram, grid, symmetric).unwrap();
            let least = error(histogram, found, grid, symmetric);
            // Positions are rounded in relation to the largest value M: 2^-53·M against an error of at least scale/2^11 per
            // value, and the codes' values in float32, 2^-24 each, against the formula's exact steps.
            let largest = f64::from(whole.max.max(-whole.min));
            let bound = 1e-6 * least + real(histogram.total()) * (largest * 2.0_f64.powi(-22)).powi(2);
            assert!(least <= error(histogram, whole, grid, symmetric) + bound, "{sample}, {bits} {symmetric}");
            for edge in (1..=2047).step_by(if bits == 8 { 97 } else { 5 }) {
                let edge = f64::from(edge) * width;
                let mut others = vec![clip(whole, -edge, edge)];
                if !symmetric {
                    others = vec![
                        Range { min: found.min, ..clip(whole, -edge, edge) },
                        Range { max: found.max, ..clip(whole, -edge, edge) },
                    ];
                }
                for other in others.into_iter().filter(|r| r.min <= r.max && whole.min.max(0.0) <= r.max) {
                    let error = error(histogram, other, grid, symmetric);
                    assert!(
                        least <= error + bound,
                        "{sample}, {bits} {symmetric}: {found:?} {least}, {other:?} {error}"
                    );
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn the_clip_is_never_worse_than_the_whole(data in prop::collection::vec(-9.0_f32..30.0, 1..60), bits in 2_u32..=6, symmetric: bool) {
        let (histogram, grid) = (histogram(&data), grid(bits, symmetric));
        let whole = histogram.range().unwrap();
        let found = error(&histogram, mse(&histogram, grid, symmetric).unwrap(), grid, symmetric);
        let at_whole = error(&histogram, whole, grid, symmetric);
        // As above: float32 values of the codes, against exact steps.
        let largest = f64::from(whole.max.max(-whole.min));
        let bound = 1e-6 * at_whole + real(histogram.total()) * (largest * 2.0_f64.powi(-22)).powi(2);
        prop_assert!(found <= at_whole + bound, "{found} {at_whole}");
    }
}

/// One value in each bin of one sign, spread evenly from 0 to 1.
fn even(sign: f32) -> Histogram {
    let data: Vec<f32> = (0..2048_u16).map(|i| sign * f32::from(i) / 2048.0).collect();
    histogram(&[data, vec![sign * 1.0_f32.next_down()]].concat())
}

#[test]
fn without_outliers_the_range_is_nearly_all() {
    for bits in [2, 4, 8] {
        for (sign, symmetric) in [(1.0, false), (-1.0, false), (1.0, true), (-1.0, true)] {
            let (histogram, grid) = (even(sign), grid(bits, symmetric));
            let whole = histogram.range().unwrap();
            // P is even, so Q is P for the whole range; every narrower clip piles values up at its end.
            assert_eq!(entropy(&histogram, grid, symmetric).unwrap(), whole);
            // With c the clip and s = c/n its step, the error is c·s²/12 + (1 − c)³/3: convex, and least at 1 − c = s/2. The
            // nearest edges lie within a bin of that, and the last bin holds one value more than the others.
            let steps = if symmetric { grid.quant_max() } else { grid.steps() };
            let found = mse(&histogram, grid, symmetric).unwrap();
            let missing = f64::from(whole.max - found.max + (found.min - whole.min));
            assert!(missing <= 0.5 / f64::from(steps) + histogram.width(), "{bits} {sign} {symmetric}: {missing}");
        }
    }
}

#[test]
fn zeros_do_not_move_the_clip() {
    let data = relu(&bell(20_000, 0.3));
    let with_zeros = [data.clone(), vec![0.0; 30_000]].concat();
    for (bits, symmetric) in [(8, false), (8, true), (4, false)] {
        let grid = grid(bits, symmetric);
        let clip = |data| entropy(&histogram(data), grid, symmetric).unwrap();
        assert_eq!(clip(&with_zeros), clip(&data));
    }
}

#[test]
fn an_outlier_is_clipped() {
    // Triangular on [0, 1): more the nearer to 0.
    let triangle = (0..200_u16).flat_map(|i| (i..200).map(move |_| f32::from(i) / 200.0));
    let histogram = histogram(&triangle.chain([10.0]).collect::<Vec<f32>>());
    for found in [entropy(&histogram, grid(2, false), false), mse(&histogram, grid(2, false), false)] {
        // The whole range has a step of 3.3: every value but one becomes 0.
        let max = f64::from(found.unwrap().max);
        assert!((0.3..=1.5).contains(&max), "{max}");
    }
}
