//! Kernels against the limit measured in the same run: `memcpy`, or one read, of the same bytes with the same threads.
//!
//! `cargo bench -p quant-math` prints the ratio of the medians and the budget, where there is one. A time alone would mean
//! nothing on another machine.
#![expect(clippy::cast_precision_loss, reason = "times and sizes are printed with three digits")]

use std::hint::black_box;
use std::io::{self, Write};
use std::time::Instant;

use quant_math::data::LittleEndian;
use quant_math::metrics::Metrics;
use quant_math::plan::Settings;
use quant_math::weights::{AffineMap, CHUNK, Form, measure, observe_ranges};
use quant_math::{Affine, ChannelLayout, DType, Grid, MathError, Quantizer, Range, Rounding, WeightMap, observe};
use rayon::prelude::*;

/// Elements of the large buffer: 128 MiB, beyond every cache.
const LARGE: usize = 32 << 20;
/// Elements of the small one: 64 KiB.
const SMALL: usize = 16 << 10;
/// Elements that are timed at once: 4 MiB, less than the time slice of an operating system.
const WINDOW: usize = 1 << 20;
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

/// The parts of the buffers that are timed at once.
struct Window<'a> {
    /// Position of the first element in the tensor.
    at: usize,
    src: &'a [f32],
    dst: &'a mut [f32],
    codes: &'a mut [i8],
}

type Work<'a> = &'a dyn Fn(Window<'_>);

fn rows(len: usize) -> Result<Vec<Row>, MathError> {
    let number = |i: usize| (i.wrapping_mul(2_654_435_761) % 1_000_003) as f32 / 5e5 - 1.0;
    let src: Vec<f32> = (0..len).map(number).collect();
    let mut buffers = Buffers { src: &src, dst: vec![1.0; len], codes: vec![1; len] };

    let grid = Grid::signed_narrow(8)?;
    let affine = Affine::symmetric(Range::observe(&src[..])?, grid)?;
    // The same for the whole tensor and for each window of it.
    let layouts = |len: usize| {
        let first_axis = (LARGE / 64).min(len);
        [
            ("64 channels, last axis", ChannelLayout { outer: len / 64, channels: 64, inner: 1 }),
            ("4 channels, runs of 16", ChannelLayout { outer: len / 64, channels: 4, inner: 16 }),
            ("64 channels, runs of 64", ChannelLayout { outer: len / 4096, channels: 64, inner: 64 }),
            ("64 channels, first axis", ChannelLayout { outer: 1, channels: len / first_axis, inner: first_axis }),
        ]
    };
    let whole = ChannelLayout::per_tensor(len);
    let naive = observe(&Settings::new(Quantizer::Naive, 8), whole, &src[..])?;
    let one_bit = Settings::new(Quantizer::DoReFa, 1);
    let dorefa = observe(&Settings::new(Quantizer::DoReFa, 4), whole, &src[..])?;

    let mut rows = Vec::new();
    // A cache is no limit that a kernel could reach: its arithmetic shows.
    let budget = (len == LARGE).then_some(1.15);

    let limit: Work<'_> = &|window| copy(window.src, window.dst);
    let mut row = |name, budget, limit: Work<'_>, work: Work<'_>| rows.push(buffers.compare(name, budget, limit, work));
    row("memcpy", None, limit, limit);
    row("fake-quant, per tensor", budget, limit, &|w| affine.fake_quant_into(w.src, w.dst));
    for (name, layout) in layouts(len) {
        let map = AffineMap::new(layout, grid, Rounding::Nearest, vec![affine; layout.channels])?;
        let map = WeightMap::Affine(map);
        row(name, budget, limit, &|w| map.values_into(w.at, w.src, w.dst));
    }
    row("codes, 8 bits", None, limit, &|w| drop(naive.codes_into(w.at, w.src, w.codes)));
    row("DoReFa weights, 4 bits", None, limit, &|w| dorefa.values_into(w.at, w.src, w.dst));
    row("quantize, measure and store", None, limit, &|w| {
        let (values, span) = (Form::Values(DType::F32), w.at..w.at + w.src.len());
        // A chunk at a time, as `compress` does it.
        for (at, out) in span.step_by(CHUNK).zip(w.dst.chunks_mut(CHUNK)) {
            let end = at + out.len();
            drop(black_box(naive.store(values, &src[..], at..end, bytemuck::cast_slice_mut(out))));
        }
    });

    let limit: Work<'_> = &|window| _ = black_box(read(window.src));
    row("read", None, limit, limit);
    row("min/max, per tensor", budget, limit, &|w| _ = black_box(Range::observe(w.src)));
    for (i, (name, _)) in layouts(len).into_iter().enumerate() {
        row(name, budget, limit, &|w| {
            let layout = layouts(w.src.len()).get(i).map_or(whole, |(_, layout)| *layout);
            drop(black_box(observe_ranges(layout, w.src)));
        });
    }
    row("min/max of unaligned bytes", None, limit, &|w| {
        let bytes: &[u8] = bytemuck::cast_slice(w.src);
        _ = black_box(Range::observe(&LittleEndian::new(DType::F32, bytes.get(1..).unwrap_or_default())));
    });
    row("mean of |w|", None, limit, &|w| {
        drop(black_box(observe(&one_bit, ChannelLayout::per_tensor(w.src.len()), w.src)));
    });
    row("metrics", None, limit, &|w| _ = black_box(Metrics::of(w.src, w.dst)));
    row("quantize and measure", None, limit, &|w| _ = black_box(measure(&naive, w.src)));
    row("quantize and measure, DoReFa", None, limit, &|w| _ = black_box(measure(&dorefa, w.src)));
    Ok(rows)
}

struct Buffers<'a> {
    src: &'a [f32],
    dst: Vec<f32>,
    codes: Vec<i8>,
}

impl Buffers<'_> {
    /// Limit and work in turns on windows far apart, so that neither finds anything in the cache and whatever else the machine
    /// does hits both; the ratio of the medians.
    fn compare(&mut self, name: &'static str, budget: Option<f64>, limit: Work<'_>, work: Work<'_>) -> Row {
        let len = self.src.len().min(WINDOW);
        let windows = self.src.len() / len;
        let calls = if windows > 1 { 8 * windows } else { 4001 };
        let (mut limits, mut works) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
        for call in 0..calls {
            limits.push(self.time(call % windows * len, len, limit));
            works.push(self.time((call + windows / 2) % windows * len, len, work));
        }
        let (limit, work) = (median(limits), median(works));
        Row { name, ratio: work / limit, speed: len as f64 * 4.0 / work / 1e9, budget }
    }

    fn time(&mut self, at: usize, len: usize, work: Work<'_>) -> f64 {
        let span = at..at + len;
        let src = self.src.get(span.clone()).unwrap_or_default();
        let dst = self.dst.get_mut(span.clone()).unwrap_or_default();
        let codes = self.codes.get_mut(span).unwrap_or_default();
        let start = Instant::now();
        work(Window { at, src, dst, codes });
        start.elapsed().as_secs_f64()
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
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
