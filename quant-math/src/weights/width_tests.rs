//! The same bits at every SIMD width, length, alignment and number of threads.

use super::*;
use crate::data::{LittleEndian, write_little_endian};
use crate::metrics::{Metrics, MetricsAccumulator};
use crate::plan::{Quantizer, Settings};
use crate::simd::width::{Width, with};
use crate::{Affine, DType, MathError, Rounding, WeightData};

/// Numbers of mixed size, zeros of both signs and subnormal numbers among them.
fn data(len: usize) -> Vec<f32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u32::try_from(state >> 32).unwrap()
    };
    let number = |i: usize| match i % 7 {
        0 => 0.0,
        1 => -0.0,
        2 => f32::from_bits(next() & 0x8000_00ff),
        // Exponents from 2^-7 to 2^8.
        _ => f32::from_bits((next() & 0x87ff_ffff) | 0x3c00_0000),
    };
    (0..len).map(number).collect()
}

fn cases() -> Vec<Settings> {
    let mut cases = Vec::new();
    for (quantizer, symmetric, rounding) in [
        (Quantizer::Naive, true, Rounding::Nearest),
        (Quantizer::Naive, true, Rounding::Truncate),
        (Quantizer::Naive, false, Rounding::Truncate),
        (Quantizer::Qat, true, Rounding::Nearest),
        (Quantizer::Qat, false, Rounding::Nearest),
    ] {
        cases.extend([2, 8, 16].map(|bits| Settings { symmetric, rounding, ..Settings::new(quantizer, bits) }));
    }
    cases.extend([1, 2, 8, 32].map(|bits| Settings::new(Quantizer::DoReFa, bits)));
    cases
}

fn layouts(settings: &Settings, len: usize) -> Vec<ChannelLayout> {
    let mut layouts = vec![ChannelLayout::per_tensor(len)];
    if settings.quantizer != Quantizer::DoReFa {
        // Every factorization into three, so that long and short runs, one channel and many are all there.
        for outer in (1..=len).filter(|outer| len.is_multiple_of(*outer)) {
            let rest = len / outer;
            for channels in (1..=rest).filter(|channels| rest.is_multiple_of(*channels)) {
                layouts.push(ChannelLayout { outer, channels, inner: rest / channels });
            }
        }
    }
    layouts
}

fn bits_of(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Values and codes of the elements from `offset` on.
fn mapped(map: &WeightMap, offset: usize, src: &[f32]) -> (Vec<u32>, Vec<i32>) {
    let mut values = vec![f32::NAN; src.len()];
    map.values_into(offset, src, &mut values);
    let mut codes = vec![-1; src.len()];
    if map.bits() <= 16 {
        map.grid_codes_into(offset, src, &mut codes).unwrap();
    }
    (bits_of(&values), codes)
}

#[test]
fn every_length_and_alignment_at_every_width() {
    let all = data(140);
    for len in 1..70 {
        for settings in cases() {
            for layout in layouts(&settings, len) {
                // The offset of the slice walks over every position in a vector register.
                let start = len % 33;
                let src = &all[start..start + len];
                let scalar = with(Width::Scalar, || observe(&settings, layout, src)).unwrap();
                let expected = with(Width::Scalar, || mapped(&scalar, 0, src));
                for width in Width::all() {
                    let map = with(width, || observe(&settings, layout, src)).unwrap();
                    assert_eq!(map, scalar, "{settings:?} {layout:?} {width:?}");
                    let found = with(width, || mapped(&map, 0, src));
                    assert_eq!(found, expected, "{settings:?} {layout:?} {width:?}");
                    let values: Vec<f32> = found.0.iter().map(|bits| f32::from_bits(*bits)).collect();
                    let measured = with(width, || measure(&map, src));
                    assert_eq!(measured, Metrics::of(src, &values), "{settings:?} {layout:?} {width:?}");
                    let middle = len / 3;
                    let tail = with(width, || mapped(&map, middle, &src[middle..]));
                    assert_eq!(tail.0, expected.0[middle..], "{settings:?} {layout:?} {width:?}, from {middle}");
                }
            }
        }
    }
}

#[test]
fn every_alignment_of_source_and_destination() {
    let all = data(140);
    let settings = Settings::new(Quantizer::Naive, 8);
    let map = observe(&settings, ChannelLayout::per_tensor(140), &all[..]).unwrap();
    let WeightMap::Affine(affine) = &map else { panic!("the Naive quantizer is affine") };
    let affine = affine.channels()[0];
    for from in 0..32 {
        for to in 0..32 {
            let src = &all[from..from + 70];
            let mut out = [f32::NAN; 102];
            map.values_into(0, src, &mut out[to..to + 70]);
            let expected: Vec<f32> = src.iter().map(|x| affine.fake_quant(*x)).collect();
            assert_eq!(bits_of(&out[to..to + 70]), bits_of(&expected), "from {from} to {to}");
            assert!(out[..to].iter().chain(&out[to + 70..]).all(|x| x.is_nan()));
        }
    }
}

#[test]
fn loops_follow_the_formula_of_one_element() {
    let src = data(4096);
    for settings in cases() {
        let layout = ChannelLayout { outer: 8, channels: 32, inner: 16 };
        if settings.quantizer == Quantizer::DoReFa {
            continue;
        }
        let map = observe(&settings, layout, &src[..]).unwrap();
        let WeightMap::Affine(affine) = &map else { panic!("{settings:?} is affine") };
        let channel = |i: usize| -> Affine { affine.channels()[layout.channel(i)] };
        let (values, codes) = mapped(&map, 0, &src);
        for (i, x) in src.iter().enumerate() {
            let code = channel(i).quantize_with(settings.rounding, *x);
            assert_eq!(codes[i], code, "{settings:?}, element {i} = {x:e}");
            assert_eq!(values[i], channel(i).dequantize(code).to_bits(), "{settings:?}, element {i} = {x:e}");
        }
    }
}

#[test]
fn same_bits_at_every_number_of_threads() {
    let src = data(9 * CHUNK + 73);
    let layouts = [
        ChannelLayout::per_tensor(src.len()),
        ChannelLayout { outer: 1, channels: 1, inner: src.len() },
        ChannelLayout { outer: src.len() / 7, channels: 7, inner: 1 },
        ChannelLayout { outer: 1, channels: 7, inner: src.len() / 7 },
    ];
    assert_eq!(src.len() % 7, 0, "the layouts above need a length that 7 divides");
    let mut first: Option<Vec<String>> = None;
    for threads in [1, 2, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let results = pool.install(|| {
            let mut results = Vec::new();
            for settings in cases() {
                let count = if settings.quantizer == Quantizer::DoReFa { 1 } else { layouts.len() };
                for layout in &layouts[..count] {
                    let map = observe(&settings, *layout, &src[..]).unwrap();
                    let mut values = vec![0.0; src.len()];
                    map.values_into(0, &src, &mut values);
                    let digest =
                        values.iter().fold(0_u64, |h, v| (h ^ u64::from(v.to_bits())).wrapping_mul(0x100_0000_01b3));
                    let metrics: Metrics = measure(&map, &src[..]);
                    assert_eq!(metrics, Metrics::of(&src, &values), "{settings:?} {layout:?}");
                    results.push(format!("{settings:?} {map:?} {digest:x} {metrics:?}"));
                }
            }
            results
        });
        match &first {
            None => first = Some(results),
            Some(first) => assert!(*first == results, "{threads} threads differ from 1"),
        }
    }
}

/// Mapped as a whole, rounded, written and measured, one after the other.
fn stored_plainly(map: &WeightMap, form: Form, source: &[f32], offset: usize) -> (Vec<u8>, MetricsAccumulator) {
    let mut values = vec![f32::NAN; source.len()];
    map.values_into(offset, source, &mut values);
    let (Form::Values(dtype) | Form::Codes(dtype, _)) = form;
    let mut bytes = vec![0xff; source.len() * dtype.size()];
    write_little_endian(dtype, &values, &mut bytes);
    let values = LittleEndian::new(dtype, &bytes).chunk(0..source.len()).into_owned();
    if let Form::Codes(_, storage) = form {
        bytes = vec![0xff; storage.bytes(source.len())];
        map.stored_into(storage, offset, source, &mut bytes).unwrap();
    }
    let mut error = MetricsAccumulator::default();
    error.update(source, &values);
    (bytes, error)
}

#[test]
fn a_chunk_is_stored_as_its_parts_would_be() {
    let dtypes = [DType::F16, DType::BF16, DType::F32, DType::F64];
    let floats = data(CHUNK + 3 * 1024 + 77);
    for (number, stored_as) in dtypes.into_iter().enumerate() {
        // An odd address as in a file, and one that float32 can have.
        for shift in [0, 1] {
            let mut bytes = vec![0; shift + floats.len() * stored_as.size()];
            write_little_endian(stored_as, &floats, &mut bytes[shift..]);
            let source = LittleEndian::new(stored_as, &bytes[shift..]);
            let all = source.chunk(0..source.len()).into_owned();
            let mut pieces = Vec::new();
            source.pieces(5..all.len() - 3, &mut |at, piece| {
                assert_eq!(at, 5 + pieces.len());
                pieces.extend_from_slice(piece);
            });
            assert_eq!(bits_of(&pieces), bits_of(&all[5..all.len() - 3]), "{stored_as:?}");
            for settings in cases() {
                let map = observe(&settings, ChannelLayout::per_tensor(all.len()), &source).unwrap();
                let values = [stored_as, dtypes[(number + 1) % 4]].map(Form::Values);
                let codes = [Storage::BYTES, Storage::HALVES, Storage::QUARTERS].into_iter();
                let codes = codes.filter(|storage| storage.bits() >= map.bits()).map(|s| Form::Codes(stored_as, s));
                for form in values.into_iter().chain(codes) {
                    for span in [0..CHUNK, CHUNK..all.len()] {
                        let expected = stored_plainly(&map, form, &all[span.clone()], span.start);
                        let mut out = vec![0xff; form.bytes(span.len())];
                        let error = map.store(form, &source, span.clone(), &mut out).unwrap();
                        assert!(out == expected.0, "{settings:?}, {form:?} from {stored_as:?}, {span:?}");
                        let mut sum = MetricsAccumulator::default();
                        sum.merge(&error);
                        assert_eq!(sum, expected.1, "{settings:?}, {form:?} from {stored_as:?}, {span:?}");
                    }
                }
            }
        }
    }
    let wide = observe(&Settings::new(Quantizer::Naive, 9), ChannelLayout::per_tensor(2), &[1.0, 2.0][..]).unwrap();
    let refused = wide.store(Form::Codes(DType::F32, Storage::BYTES), &[1.0, 2.0][..], 0..2, &mut [0; 2]);
    assert_eq!(refused.unwrap_err().code(), MathError::NoCodes { bits: 9, expected: 8 }.code());
}
