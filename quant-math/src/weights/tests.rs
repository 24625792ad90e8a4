use super::*;
use crate::plan::{Quantizer, Settings};
use crate::{Grid, MathError, Rounding, WeightData};

/// −.3 to .5 in steps of .1.
const RAMP: [f32; 9] = [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5];

fn settings(quantizer: Quantizer, bits: u32) -> Settings {
    Settings::new(quantizer, bits)
}

fn map(settings: &Settings, data: &[f32]) -> WeightMap {
    observe(settings, ChannelLayout::per_tensor(data.len()), data).unwrap()
}

fn values(map: &WeightMap, data: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; data.len()];
    map.values_into(0, data, &mut out);
    out
}

fn codes(map: &WeightMap, data: &[f32]) -> Vec<i32> {
    let mut out = vec![i32::MIN; data.len()];
    map.grid_codes_into(0, data, &mut out).unwrap();
    out
}

fn stored(map: &WeightMap, data: &[f32]) -> Vec<i8> {
    let mut out = vec![0; data.len()];
    map.codes_into(0, data, &mut out).unwrap();
    out
}

fn bits_of(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn naive_codes_of_the_ramp() {
    let nearest = map(&settings(Quantizer::Naive, 8), &RAMP);
    assert_eq!(codes(&nearest, &RAMP), [-76, -51, -25, 0, 25, 51, 76, 102, 127]);
    let truncate = Settings { rounding: Rounding::Truncate, ..settings(Quantizer::Naive, 8) };
    let truncate = map(&truncate, &RAMP);
    assert_eq!(codes(&truncate, &RAMP), [-76, -50, -25, 0, 25, 50, 76, 101, 127]);
    assert_eq!(nearest.scale_span(), Some((0.5 / 127.0, 0.5 / 127.0)));
}

#[test]
fn dorefa_values_of_the_ramp() {
    let eight = [-161.0, -109.0, -55.0, 1.0, 55.0, 109.0, 161.0, 209.0, 255.0_f32].map(|steps| steps / 255.0);
    let two = [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 3.0, 3.0_f32].map(|steps| steps / 3.0);
    for (bits, expected) in [(8, eight), (2, two)] {
        for (found, expected) in values(&map(&settings(Quantizer::DoReFa, bits), &RAMP), &RAMP).iter().zip(expected) {
            // 2·(c/n) − 1 is rounded twice at a size of at most 2.
            assert!((found - expected).abs() <= 2.0 * f32::EPSILON, "{bits} bits: {found}, expected {expected}");
        }
    }
    let printed =
        [-0.631_373, -0.427_451, -0.215_686, 0.003_921_6, 0.215_686, 0.427_451, 0.631_373, 0.819_608, 1.0_f32];
    for (found, expected) in eight.iter().zip(printed) {
        // The specification prints six digits.
        assert!((found - expected).abs() <= 5e-7, "{found}, expected {expected}");
    }
}

#[test]
fn one_bit_is_sign_and_mean() {
    let map = map(&settings(Quantizer::DoReFa, 1), &[-3.0, 0.0, -0.0, 1.0]);
    assert_eq!(map, WeightMap::Sign { mean_abs: 1.0 });
    assert_eq!(values(&map, &[-3.0, 0.0, -0.0, 1.0]), [-1.0, 1.0, 1.0, 1.0]);
    assert_eq!(stored(&map, &[-3.0, 0.0, -0.0, 1.0]), [-1, 1, 1, 1]);
}

#[test]
fn zeros_have_a_scale_and_codes_of_zero() {
    let zeros = [0.0, -0.0, 0.0];
    for (quantizer, symmetric) in
        [(Quantizer::Naive, true), (Quantizer::Naive, false), (Quantizer::Qat, true), (Quantizer::Qat, false)]
    {
        let map = map(&Settings { symmetric, ..settings(quantizer, 8) }, &zeros);
        assert_eq!(map.scale_span(), Some((1.0, 1.0)));
        assert_eq!(codes(&map, &zeros), [0; 3]);
        assert_eq!(bits_of(&values(&map, &zeros)), [0; 3]);
    }
    for bits in [1, 2, 8] {
        assert_eq!(map(&settings(Quantizer::DoReFa, bits), &zeros), WeightMap::Unchanged);
    }
}

#[test]
fn thirty_two_bits_change_nothing() {
    let map = map(&settings(Quantizer::DoReFa, 32), &RAMP);
    assert_eq!(map.bits(), 32);
    assert_eq!(bits_of(&values(&map, &RAMP)), bits_of(&RAMP));
    assert_eq!(map.dequant(), None);
    assert_eq!(map.codes_into(0, &RAMP, &mut [0; 9]).unwrap_err().code(), "M0109");
    assert_eq!(map.grid_codes_into(0, &RAMP, &mut [0; 9]).unwrap_err().code(), "M0109");
}

#[test]
fn more_than_eight_bits_have_no_stored_codes() {
    let map = map(&settings(Quantizer::Qat, 9), &RAMP);
    assert_eq!(map.dequant(), None);
    assert_eq!(map.codes_into(0, &RAMP, &mut [0; 9]).unwrap_err().code(), "M0109");
    assert_eq!(codes(&map, &RAMP), [-153, -102, -51, 0, 51, 102, 153, 204, 255]);
}

#[test]
fn stored_codes_give_the_same_bits() {
    let data: Vec<f32> = (0..4096_i16).map(|i| f32::from(i - 1500) * 0.001_7).collect();
    let mut cases = Vec::new();
    for bits in 2..=8 {
        for quantizer in [Quantizer::Naive, Quantizer::Qat] {
            for symmetric in [true, false] {
                cases.push(Settings { symmetric, ..settings(quantizer, bits) });
            }
        }
    }
    cases.extend((1..=8).map(|bits| settings(Quantizer::DoReFa, bits)));
    for case in cases {
        let layouts = [ChannelLayout::per_tensor(4096), ChannelLayout { outer: 4, channels: 64, inner: 16 }];
        let count = if case.quantizer == Quantizer::DoReFa { 1 } else { 2 };
        for layout in &layouts[..count] {
            let map = observe(&case, *layout, &data[..]).unwrap();
            assert_eq!(map.bits(), case.bits);
            let mut expected = vec![0.0; 4000];
            map.values_into(77, &data[77..4077], &mut expected);
            let mut codes = vec![0; 4000];
            map.codes_into(77, &data[77..4077], &mut codes).unwrap();
            let mut found = vec![f32::NAN; 4000];
            map.dequant().unwrap().values_into(77, &codes, &mut found);
            assert_eq!(bits_of(&found), bits_of(&expected), "{case:?}");
        }
    }
}

#[test]
fn channels_are_slices() {
    let data: Vec<f32> = (0..24_i16).map(|i| f32::from(i * i % 17) - 7.3).collect();
    let layout = ChannelLayout { outer: 2, channels: 3, inner: 4 };
    let settings = settings(Quantizer::Naive, 4);
    let whole = observe(&settings, layout, &data[..]).unwrap();
    let found = values(&whole, &data);
    for channel in 0..3 {
        let at: Vec<usize> = (0..24).filter(|i| layout.channel(*i) == channel).collect();
        let slice: Vec<f32> = at.iter().map(|i| data[*i]).collect();
        let expected = values(&map(&settings, &slice), &slice);
        let found: Vec<f32> = at.iter().map(|i| found[*i]).collect();
        assert_eq!(bits_of(&found), bits_of(&expected));
    }
}

/// Every quantizer at every width that has stored codes, with zero points and without.
fn stored_cases() -> Vec<Settings> {
    let mut cases: Vec<Settings> = (1..=8).map(|bits| settings(Quantizer::DoReFa, bits)).collect();
    for quantizer in [Quantizer::Naive, Quantizer::Qat] {
        for symmetric in [true, false] {
            cases.extend((2..=8).map(|bits| Settings { symmetric, ..settings(quantizer, bits) }));
        }
    }
    cases
}

#[test]
fn codes_that_share_bytes_give_the_same_bits_at_every_length() {
    let data: Vec<f32> = (0..4101_i16).map(|i| f32::from(i % 37 * 100 + i % 100 - 1500) * 0.001_7).collect();
    for settings in stored_cases() {
        for len in [4101, 4100, 4099, 4098] {
            let data = &data[..len];
            let channels = if settings.quantizer != Quantizer::DoReFa && len == 4100 { 41 } else { 1 };
            let layout = ChannelLayout { outer: 1, channels, inner: len / channels };
            let map = observe(&settings, layout, data).unwrap();
            let storage = Storage::of(settings.bits, len);
            assert_eq!(storage.is_shared(), settings.bits <= 4, "{settings:?}");
            let mut bytes = vec![0xff; storage.bytes(len)];
            // In pieces, as it is written.
            let piece = 256 * storage.per_byte();
            for (number, out) in bytes.chunks_mut(256).enumerate() {
                let start = number * piece;
                map.stored_into(storage, start, &data[start..len.min(start + piece)], out).unwrap();
            }
            let mut codes: Vec<u8> = storage.unpack(&bytes).collect();
            assert!(codes.drain(len..).all(|padding| padding == 0), "{settings:?}");
            if storage.is_shared() {
                assert!(codes.iter().all(|code| u32::from(*code) < 1 << settings.bits.max(2)), "{settings:?}");
            }
            let codes: Vec<i8> = codes.into_iter().map(u8::cast_signed).collect();
            let mut found = vec![f32::NAN; len];
            let dequant = map.dequant_of(storage).unwrap();
            dequant.values_into(0, &codes, &mut found);
            assert_eq!(bits_of(&found), bits_of(&values(&map, data)), "{settings:?}, {len} elements");
            if settings.symmetric && settings.quantizer != Quantizer::DoReFa {
                let highest = f32::from(i8::try_from((1 << (settings.bits - 1)) - 1).unwrap());
                let expected = if storage.is_shared() { vec![highest] } else { vec![] };
                assert_eq!(dequant.zero_points(), expected, "one for all channels");
            }
        }
    }
}

#[test]
fn codes_of_more_bits_than_their_place_are_refused() {
    let data = [1.0; 4096];
    let storage = Storage::of(2, data.len());
    for (quantizer, bits) in
        [(Quantizer::Naive, 3), (Quantizer::DoReFa, 4), (Quantizer::Qat, 9), (Quantizer::DoReFa, 32)]
    {
        let map = map(&settings(quantizer, bits), &data);
        assert_eq!(map.stored_into(storage, 0, &data, &mut [0; 1024]).unwrap_err().code(), "M0109");
        assert_eq!(map.dequant_of(storage), None);
    }
}

#[test]
fn zero_points_are_written_once_where_they_are_the_same() {
    let affine = |zero_point: &[i32]| Dequant::Affine {
        layout: ChannelLayout { outer: 1, channels: zero_point.len(), inner: 1 },
        scale: vec![1.0; zero_point.len()],
        zero_point: zero_point.to_vec(),
    };
    for (zero_point, expected) in [(&[0, 0][..], &[][..]), (&[7, 7], &[7.0]), (&[7, 0], &[7.0, 0.0]), (&[-3], &[-3.0])]
    {
        assert_eq!(affine(zero_point).zero_points(), expected);
    }
    assert_eq!(Dequant::Sign { mean_abs: 1.0, zero_point: 0 }.zero_points(), [0.0; 0]);
    assert_eq!(Dequant::Sign { mean_abs: 1.0, zero_point: 1 }.zero_points(), [1.0]);
}

#[test]
fn the_first_number_that_is_not_finite_is_named() {
    let mut data = vec![1.0_f32; 3 * CHUNK];
    for (position, value) in [(2 * CHUNK + 5, f32::NAN), (CHUNK + 9, f32::NEG_INFINITY), (CHUNK + 11, f32::NAN)] {
        data[position] = value;
        let error =
            observe(&settings(Quantizer::Naive, 8), ChannelLayout::per_tensor(data.len()), &data[..]).unwrap_err();
        let first = data.iter().position(|x| !x.is_finite()).unwrap();
        assert!(matches!(error, MathError::NonFinite { index, .. } if index == first), "{error}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let code = |settings: &Settings, layout, data: &[f32]| observe(settings, layout, data).unwrap_err().code();
    let naive = settings(Quantizer::Naive, 8);
    assert_eq!(code(&naive, ChannelLayout::per_tensor(8), &RAMP), "M0105");
    assert_eq!(code(&naive, ChannelLayout::per_tensor(0), &[]), "M0107");
    assert_eq!(code(&naive, ChannelLayout::per_tensor(2), &[f32::MAX, -f32::MAX]), "M0103");
    let dorefa = settings(Quantizer::DoReFa, 8);
    assert_eq!(code(&dorefa, ChannelLayout { outer: 1, channels: 3, inner: 3 }, &RAMP), "M0108");
    for (quantizer, widths) in
        [(Quantizer::Naive, [0, 1, 17]), (Quantizer::Qat, [0, 1, 17]), (Quantizer::DoReFa, [0, 9, 33])]
    {
        for bits in widths {
            assert_eq!(code(&settings(quantizer, bits), ChannelLayout::per_tensor(9), &RAMP), "M0102");
        }
    }
    let grid = Grid::unsigned(8).unwrap();
    let layout = ChannelLayout::per_tensor(9);
    assert_eq!(WeightMap::affine(layout, grid, Rounding::Nearest, vec![]).unwrap_err().code(), "M0105");
}

#[test]
fn every_float_type_is_read() {
    for dtype in [crate::DType::F16, crate::DType::BF16, crate::DType::F32, crate::DType::F64] {
        let exact = [-2.0, 0.5, 1.0, 0.0];
        let mut bytes = vec![0; 4 * dtype.size()];
        crate::data::write_little_endian(dtype, &exact, &mut bytes);
        let data = crate::data::LittleEndian::new(dtype, &bytes);
        assert_eq!(data.len(), 4);
        let map = observe(&settings(Quantizer::Naive, 8), ChannelLayout::per_tensor(4), &data).unwrap();
        assert_eq!(map.scale_span(), Some((2.0 / 127.0, 2.0 / 127.0)), "{dtype:?}");
    }
}
