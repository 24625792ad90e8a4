//! Kernels against the limit measured in the same run: `memcpy`, or one read, of the same bytes with the same threads.
//!
//! `cargo bench -p quant-math` prints the ratio of the medians and the budget, where there is one. A time alone would mean
//! nothing on another machine.
#![expect(clippy::cast_precision_loss, reason = "times and sizes are printed with three digits")]

use std::cell::RefCell;
use std::hint::black_box;
use std::io::{self, Write};
use std::time::Instant;

use quant_math::data::LittleEndian;
use quant_math::metrics::Metrics;
use quant_math::plan::Settings;
use quant_math::weights::{AffineMap, measure, observe_ranges};
use quant_math::{Affine, ChannelLayout, DType, Grid, MathError, Quantizer, Range, Rounding, WeightMap, observe};
use rayon::prelude::*;

/// Elements of the large buffer: 128 MiB, beyond every cache.
const LARGE: usize = 32 << 20;
/// Elements of the small one: 64 KiB.
const SMALL: usize = 16 << 10;
/// Elements of a piece of the shared `memcpy` and read.
const PIECE: usize = 1 << 16;

fn main() -> io::Result<()> {
    let mut out = anstream::stdout();
    for (name, len, threads) in [("128 MiB", LARGE, 1), ("128 MiB", LARGE, 2), ("64 KiB, in cache", SMALL, 1)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(io::Error::other)?;
        let rows = pool.install(|| rows(len)).map_err(io::Error::other)?;
        writeln!(out, "{name}, {threads} thread{}", if threads == 1 { "" } else { "s" })?;
        for Row { name, ratio, speed, budget } in rows {
            write!(out, "  {name:36} {speed:7.1} GB/s  {ratio:6.2} x")?;
            match budget {
                Some(budget) if ratio > budget => writeln!(out, "  budget {budget}, missed")?,
                Some(budget) => writeln!(out, "  budget {budget}")?,
                None => writeln!(out)?,
            }
        }
    }
    Ok(())
}

/// What is printed of one kernel.
struct Row {
    name: &'static str,
    /// Time over the limit's time.
    ratio: f64,
    /// Float bytes read per second.
    speed: f64,
    budget: Option<f64>,
}

fn rows(len: usize) -> Result<Vec<Row>, MathError> {
    let number = |i: usize| (i.wrapping_mul(2_654_435_761) % 1_000_003) as f32 / 5e5 - 1.0;
    let src: Vec<f32> = (0..len).map(number).collect();
    let src = &src[..];
    let (dst, codes) = (RefCell::new(vec![1.0_f32; len]), RefCell::new(vec![1_i8; len]));

    let grid = Grid::signed_narrow(8)?;
    let affine = Affine::symmetric(Range::observe(src)?, grid)?;
    let layouts = [
        ("64 channels, last axis", ChannelLayout { outer: len / 64, channels: 64, inner: 1 }),
        ("4 channels, runs of 16", ChannelLayout { outer: len / 64, channels: 4, inner: 16 }),
        ("64 channels, runs of 64", ChannelLayout { outer: len / 4096, channels: 64, inner: 64 }),
        ("64 channels, first axis", ChannelLayout { outer: 1, channels: 64, inner: len / 64 }),
    ];
    let whole = ChannelLayout::per_tensor(len);
    let naive = observe(&Settings::new(Quantizer::Naive, 8), whole, src)?;
    let one_bit = Settings::new(Quantizer::DoReFa, 1);
    let dorefa = observe(&Settings::new(Quantizer::DoReFa, 4), whole, src)?;
    let bytes: &[u8] = bytemuck::cast_slice(src);
    let unaligned = LittleEndian::new(DType::F32, bytes.get(1..).unwrap_or_default());

    let mut rows = Vec::new();
    let budget = Some(1.15);

    let mut against_copy = |name, budget, work: &dyn Fn(&mut [f32])| {
        let limit = || copy(src, &mut dst.borrow_mut());
        rows.push(compare(name, len, budget, &limit, &|| work(&mut dst.borrow_mut())));
    };
    against_copy("memcpy", None, &|dst| copy(src, dst));
    against_copy("fake-quant, per tensor", budget, &|dst| affine.fake_quant_into(src, dst));
    for (name, layout) in layouts {
        let map = AffineMap::new(layout, grid, Rounding::Nearest, vec![affine; layout.channels])?;
        let map = WeightMap::Affine(map);
        against_copy(name, budget, &|dst| map.values_into(0, src, dst));
    }
    against_copy("codes, 8 bits", None, &|_| drop(naive.codes_into(0, src, &mut codes.borrow_mut())));
    against_copy("DoReFa weights, 4 bits", None, &|dst| dorefa.values_into(0, src, dst));

    let mut against_read = |name, budget, work: &dyn Fn()| {
        rows.push(compare(name, len, budget, &|| _ = black_box(read(src)), work));
    };
    against_read("read", None, &|| _ = black_box(read(src)));
    against_read("min/max, per tensor", budget, &|| _ = black_box(Range::observe(src)));
    for (name, layout) in layouts {
        against_read(name, budget, &|| drop(black_box(observe_ranges(layout, src))));
    }
    against_read("min/max of unaligned bytes", None, &|| _ = black_box(Range::observe(&unaligned)));
    against_read("mean of |w|", None, &|| drop(black_box(observe(&one_bit, whole, src))));
    against_read("metrics", None, &|| _ = black_box(Metrics::of(src, &dst.borrow())));
    against_read("quantize and measure", None, &|| _ = black_box(measure(&naive, src)));
    Ok(rows)
}

/// Limit and work in turns, so that whatever else slows the machine down slows both; the median of the ratios.
fn compare(name: &'static str, len: usize, budget: Option<f64>, limit: &dyn Fn(), work: &dyn Fn()) -> Row {
    let calls = if len == LARGE { 31 } else { 4001 };
    let time = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    let mut pairs: Vec<(f64, f64)> = (0..calls).map(|_| (time(limit), time(work))).collect();
    pairs.sort_unstable_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let ratio = pairs.get(calls / 2).map_or(f64::NAN, |(limit, work)| work / limit);
    pairs.sort_unstable_by(|a, b| a.1.total_cmp(&b.1));
    let speed = pairs.get(calls / 2).map_or(f64::NAN, |(_, work)| len as f64 * 4.0 / work / 1e9);
    Row { name, ratio, speed, budget }
}

fn copy(src: &[f32], dst: &mut [f32]) {
    if src.len() < 4 * PIECE {
        dst.copy_from_slice(src);
    } else {
        src.par_chunks(PIECE).zip(dst.par_chunks_mut(PIECE)).for_each(|(src, dst)| dst.copy_from_slice(src));
    }
}

/// The exclusive or of all bits: the least that can be done with every byte.
fn read(src: &[f32]) -> u32 {
    let bits = |piece: &[f32]| pulp::Arch::new().dispatch(|| piece.iter().fold(0, |bits, x| bits ^ x.to_bits()));
    if src.len() < 4 * PIECE { bits(src) } else { src.par_chunks(PIECE).map(bits).reduce(|| 0, |a, b| a ^ b) }
}
