//! Every encoding of a tensor, legal and damaged.

use half::{bf16, f16};
use proptest::prelude::*;
use protobuf::{Enum, Message};
use quant_math::{DType, WeightData};

use super::*;
use crate::error::Error;
use crate::graphdef::pb::tensor_shape_proto::Dim;
use crate::graphdef::pb::{DataType, TensorProto, TensorShapeProto};
use crate::graphdef::wire::{put_bytes, put_tag, put_varint};

const BASE: usize = 0x1000;

fn proto(dtype: DataType, shape: &[i64], fill: impl FnOnce(&mut TensorProto)) -> Vec<u8> {
    let dim = shape.iter().map(|size| Dim { size: *size, ..Dim::default() }).collect();
    let mut tensor = TensorProto::new();
    tensor.dtype = dtype.into();
    tensor.tensor_shape = Some(TensorShapeProto { dim, ..TensorShapeProto::default() }).into();
    fill(&mut tensor);
    tensor.write_to_bytes().unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let data = TensorView::parse(bytes, BASE, "w").unwrap().float_data().unwrap();
    let whole = data.chunk(0..data.len()).into_owned();
    // Chunks say the same as the whole, also where they straddle the end of what is stored.
    for start in 0..=data.len() {
        for end in start..=data.len() {
            assert_eq!(*data.chunk(start..end), whole[start..end]);
        }
    }
    assert!(data.chunk(0..data.len() + 1).is_empty());
    whole
}

fn ints(bytes: &[u8]) -> Vec<i64> {
    TensorView::parse(bytes, BASE, "w").unwrap().int_values().unwrap()
}

fn check_error(bytes: &[u8], found: &str, expected: &str) {
    let error = TensorView::parse(bytes, BASE, "conv/w").unwrap_err();
    assert_eq!(error.to_string(), format!("tensor of `conv/w`: found {found}, expected {expected}"));
    assert_eq!(error.code(), "E0301");
    assert!(error.location().unwrap().starts_with("node `conv/w`, offset 0x1"), "{:?}", error.location());
}

#[test]
fn content_of_each_float_type_is_read_in_place() {
    let values = [1.5_f32, -0.0, 3.25, f32::MIN_POSITIVE];
    let cases = [
        (DataType::DT_FLOAT, values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()),
        (DataType::DT_DOUBLE, values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect()),
        (DataType::DT_BFLOAT16, values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect()),
    ];
    for (dtype, content) in cases {
        let bytes = proto(dtype, &[2, 2], |tensor| tensor.tensor_content = content.clone());
        let view = TensorView::parse(&bytes, BASE, "w").unwrap();
        assert_eq!((view.dtype(), view.shape(), view.elements()), (Some(dtype), &[2, 2][..], 4));
        let Payload::Content(span) = view.payload().clone() else { panic!("{view:?}") };
        assert_eq!(bytes[span.start - BASE..span.end - BASE], content);
        assert_eq!(floats(&bytes).iter().map(|v| v.to_bits()).collect::<Vec<_>>(), values.map(f32::to_bits));
    }
    let content = [1.5_f32, -0.0, 6.0e-8].iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    let bytes = proto(DataType::DT_HALF, &[3], |tensor| tensor.tensor_content = content);
    assert_eq!(floats(&bytes), [1.5, -0.0, f16::from_bits(1).to_f32()]);
}

#[test]
fn packed_unpacked_and_split_values_are_the_same() {
    let packed = proto(DataType::DT_FLOAT, &[3], |tensor| tensor.float_val = vec![1.0, 2.0, 3.0]);
    let view = TensorView::parse(&packed, BASE, "w").unwrap();
    assert!(matches!(view.payload(), Payload::Values { field: 5, count: 3, contiguous: Some(_) }), "{view:?}");
    assert_eq!(floats(&packed), [1.0, 2.0, 3.0]);

    let mut split = proto(DataType::DT_FLOAT, &[3], |_| {});
    put_bytes(&mut split, 5, &1.0_f32.to_le_bytes());
    put_tag(&mut split, 5, 5);
    split.extend(2.0_f32.to_le_bytes());
    put_bytes(&mut split, 5, &[]);
    put_bytes(&mut split, 5, &3.0_f32.to_le_bytes());
    let view = TensorView::parse(&split, BASE, "w").unwrap();
    assert_eq!(*view.payload(), Payload::Values { field: 5, count: 3, contiguous: None });
    assert_eq!(floats(&split), [1.0, 2.0, 3.0]);

    let mut single = proto(DataType::DT_DOUBLE, &[1], |_| {});
    put_tag(&mut single, 6, 1);
    single.extend(0.5_f64.to_le_bytes());
    assert_eq!(floats(&single), [0.5]);
}

#[test]
fn half_values_are_bits_of_which_the_lower_sixteen_count() {
    let bits = |v: f32| i32::from(f16::from_f32(v).to_bits());
    let bytes = proto(DataType::DT_HALF, &[4], |tensor| tensor.half_val = vec![bits(1.0), bits(-2.0), bits(0.5)]);
    assert_eq!(floats(&bytes), [1.0, -2.0, 0.5, 0.5]);
    let signed = i32::from(bf16::from_f32(-2.0).to_bits().cast_signed());
    let bytes = proto(DataType::DT_BFLOAT16, &[2], |tensor| tensor.half_val = vec![signed, 0x1_0000 + 0x3f80]);
    assert_eq!(floats(&bytes), [-2.0, 1.0]);
}

#[test]
fn the_last_value_stands_for_what_is_missing() {
    let bytes = proto(DataType::DT_FLOAT, &[2, 3], |tensor| tensor.float_val = vec![1.0, 7.0]);
    assert_eq!(floats(&bytes), [1.0, 7.0, 7.0, 7.0, 7.0, 7.0]);
    let data = TensorView::parse(&bytes, BASE, "w").unwrap().float_data().unwrap();
    assert_eq!((data.dtype(), data.is_splat(), data.stored().len()), (DType::F32, true, 2));
    assert_eq!(floats(&proto(DataType::DT_FLOAT, &[3], |_| {})), [0.0; 3]);
    assert_eq!(floats(&proto(DataType::DT_HALF, &[2], |_| {})), [0.0; 2]);
    assert_eq!(ints(&proto(DataType::DT_INT32, &[3], |tensor| tensor.int_val = vec![4, 9])), [4, 9, 9]);
    assert_eq!(ints(&proto(DataType::DT_INT64, &[2], |_| {})), [0, 0]);
}

#[test]
fn a_splat_takes_no_memory_however_many_elements_it_stands_for() {
    let bytes = proto(DataType::DT_FLOAT, &[1 << 20, 1 << 20, 1 << 20], |tensor| tensor.float_val = vec![3.0]);
    let data = TensorView::parse(&bytes, BASE, "w").unwrap().float_data().unwrap();
    assert_eq!(data.len(), 1 << 60);
    assert_eq!(*data.chunk((1 << 60) - 2..1 << 60), [3.0, 3.0]);
    let bytes = proto(DataType::DT_INT32, &[1 << 40], |tensor| tensor.int_val = vec![3]);
    let error = TensorView::parse(&bytes, BASE, "perm").unwrap().int_values().unwrap_err();
    assert_eq!(
        error.to_string(),
        "tensor of `perm`: found 1 values for 1099511627776 elements, expected at most 65536 elements in short form"
    );
}

#[test]
fn content_wins_over_values_as_in_tensorflow() {
    let bytes = proto(DataType::DT_INT32, &[1], |tensor| {
        tensor.tensor_content = vec![5, 0, 0, 0];
        tensor.int_val = vec![6];
    });
    assert_eq!(ints(&bytes), [5]);
}

#[test]
fn integers_of_each_type_are_read_from_content_and_values() {
    let cases: [(DataType, &[u8], i32, i64); 7] = [
        (DataType::DT_INT8, &[0xfe], -2, -2),
        (DataType::DT_UINT8, &[0xfe], 254, 254),
        (DataType::DT_INT16, &[0xfe, 0xff], -2, -2),
        (DataType::DT_UINT16, &[0xfe, 0xff], 65534, 65534),
        (DataType::DT_INT32, &[0xfe, 0xff, 0xff, 0xff], -2, -2),
        (DataType::DT_INT32, &[1, 0, 0, 0x80], i32::MIN + 1, i64::from(i32::MIN + 1)),
        (DataType::DT_UINT8, &[0], 0, 0),
    ];
    for (dtype, content, value, expected) in cases {
        assert_eq!(ints(&proto(dtype, &[1], |tensor| tensor.tensor_content = content.to_vec())), [expected]);
        assert_eq!(ints(&proto(dtype, &[], |tensor| tensor.int_val = vec![value])), [expected]);
    }
    assert_eq!(ints(&proto(DataType::DT_INT64, &[2], |tensor| tensor.int64_val = vec![-1, i64::MIN])), [-1, i64::MIN]);
    assert_eq!(ints(&proto(DataType::DT_BOOL, &[2], |tensor| tensor.bool_val = vec![true, false])), [1, 0]);
    assert_eq!(
        ints(&proto(DataType::DT_UINT32, &[1], |tensor| tensor.uint32_val = vec![u32::MAX])),
        [i64::from(u32::MAX)]
    );
    let bytes = proto(DataType::DT_UINT64, &[1], |tensor| tensor.uint64_val = vec![1 << 63]);
    assert!(TensorView::parse(&bytes, BASE, "w").unwrap().int_values().is_err());
}

#[test]
fn other_types_have_a_checked_payload_and_no_numbers() {
    let complex = proto(DataType::DT_COMPLEX64, &[2], |tensor| tensor.scomplex_val = vec![1.0, 2.0, 3.0, 4.0]);
    let view = TensorView::parse(&complex, BASE, "c").unwrap();
    assert!(matches!(view.payload(), Payload::Values { field: 9, count: 2, .. }));
    let error = view.float_data().unwrap_err();
    assert_eq!(error.to_string(), "tensor of `c`: found DT_COMPLEX64, expected a float type");
    let strings = proto(DataType::DT_STRING, &[1], |tensor| tensor.string_val = vec![b"x".to_vec()]);
    let view = TensorView::parse(&strings, BASE, "s").unwrap();
    assert_eq!(*view.payload(), Payload::Opaque);
    assert_eq!(view.int_values().unwrap_err().to_string(), "tensor of `s`: found DT_STRING, expected an integer type");
    let float8 = proto(DataType::DT_FLOAT8_E5M2, &[3], |tensor| tensor.float8_val = vec![1, 2]);
    assert!(matches!(
        TensorView::parse(&float8, BASE, "f").unwrap().payload(),
        Payload::Values { field: 18, count: 2, contiguous: Some(_) }
    ));
    // A type of a later TensorFlow is no reason to refuse a graph that merely contains it.
    let mut later = vec![0x08, 90, 0x12, 0];
    put_bytes(&mut later, 4, &[1, 2, 3]);
    let view = TensorView::parse(&later, BASE, "l").unwrap();
    assert_eq!((view.dtype(), view.dtype_name()), (None, "element type 90".to_owned()));
}

#[test]
fn contradictions_say_what_was_found_and_expected() {
    let content = |n: usize| move |tensor: &mut TensorProto| tensor.tensor_content = vec![0; n];
    check_error(
        &proto(DataType::DT_FLOAT, &[2, 3], content(23)),
        "23 bytes of tensor_content",
        "24 for DT_FLOAT of shape [2, 3]",
    );
    check_error(&proto(DataType::DT_HALF, &[2], content(8)), "8 bytes of tensor_content", "4 for DT_HALF of shape [2]");
    check_error(
        &proto(DataType::DT_FLOAT, &[2], |tensor| tensor.float_val = vec![1.0; 3]),
        "3 values in field 5",
        "at most 2 for DT_FLOAT of shape [2]",
    );
    check_error(
        &proto(DataType::DT_COMPLEX64, &[2], |tensor| tensor.scomplex_val = vec![1.0; 3]),
        "3 values in field 9",
        "pairs of real and imaginary part",
    );
    check_error(&proto(DataType::DT_FLOAT, &[3, -1], |_| {}), "a dimension of size -1", "a size of at least 0");
    check_error(
        &proto(DataType::DT_FLOAT, &[1 << 31, 1 << 31], |_| {}),
        "shape [2147483648, 2147483648]",
        "fewer than 2^63 bytes",
    );
    check_error(
        &proto(DataType::DT_INT8, &[i64::MAX, i64::MAX, 2], |_| {}),
        "shape [9223372036854775807, 9223372036854775807, 2]",
        "fewer than 2^63 bytes",
    );
    check_error(&proto(DataType::DT_INT8, &[1; 255], |_| {}), "more dimensions", "at most 254");
    check_error(&proto(DataType::DT_FLOAT_REF, &[1], |_| {}), "DT_FLOAT_REF", "the type of a value");
    check_error(&proto(DataType::DT_INVALID, &[1], |_| {}), "no element type", "the type of a value");
    check_error(
        &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        "element type 18446744073709551615",
        "the type of a value",
    );
    check_error(&[0x08, 1, 0x12, 2, 0x18, 1], "a shape of unknown rank", "the shape of a value");
    check_error(
        &proto(DataType::DT_FLOAT, &[1 << 40, 0, 1 << 40], |_| {}),
        "shape [1099511627776, 0, 1099511627776]",
        "fewer than 2^63 bytes",
    );
    let empty = proto(DataType::DT_FLOAT, &[1 << 30, 0, 1 << 30], |_| {});
    assert_eq!(TensorView::parse(&empty, BASE, "w").unwrap().elements(), 0);
}

#[test]
fn wrong_wire_types_are_named() {
    check_error(&[0x0a, 0], "length-delimited bytes in field 1", "a varint");
    check_error(&[0x08, 1, 0x10, 1], "a varint in field 2", "a TensorShapeProto");
    check_error(&[0x08, 1, 0x12, 2, 0x10, 1], "a varint in field 2", "a dimension");
    check_error(&[0x08, 1, 0x12, 2, 0x1a, 0], "length-delimited bytes in field 3", "a varint");
    check_error(&[0x08, 1, 0x12, 4, 0x12, 2, 0x0a, 0], "length-delimited bytes in field 1", "a varint");
    check_error(&[0x08, 1, 0x20, 1], "a varint in field 4", "length-delimited bytes");
    check_error(&[0x08, 1, 0x28, 1], "a varint in field 5", "numbers of 4 bytes");
    check_error(&[0x08, 2, 0x30, 1], "a varint in field 6", "numbers of 8 bytes");
    check_error(&[0x08, 3, 0x3d, 0, 0, 0, 0], "4 fixed bytes in field 7", "varints");
    check_error(&[0x08, 1, 0x2a, 3, 0, 0, 0], "3 bytes in field 5", "a multiple of 4");
    check_error(&[0x08, 3, 0x3a, 2, 1, 0x80], "a broken varint", "varints");
}

#[test]
fn every_truncation_is_an_error_or_a_legal_splat() {
    let bytes = proto(DataType::DT_FLOAT, &[2, 2], |tensor| tensor.float_val = vec![1.0, 2.0, 3.0, 4.0]);
    for end in 0..bytes.len() {
        match TensorView::parse(&bytes[..end], BASE, "w") {
            Ok(view) => assert!(view.float_data().unwrap().stored().is_empty(), "cut at {end}"),
            Err(error) => assert!(matches!(error, Error::Wire { .. } | Error::Tensor { .. }), "{error:?}"),
        }
    }
}

#[test]
fn what_is_encoded_is_what_protobuf_would_write() {
    for shape in [&[][..] as &[u64], &[3], &[0], &[2, 3, 1 << 40]] {
        let dims: Vec<i64> = shape.iter().map(|size| size.cast_signed()).collect();
        let expected = proto(DataType::DT_INT8, &dims, |tensor| tensor.tensor_content = vec![1, 2, 3]);
        assert_eq!(encode_tensor(DataType::DT_INT8, shape, &[1, 2, 3]), expected);
        assert_eq!([&header(DataType::DT_INT8, shape, 3)[..], &[1, 2, 3]].concat(), expected);
    }
    for (dtype, data_type) in [
        (DType::F32, DataType::DT_FLOAT),
        (DType::F64, DataType::DT_DOUBLE),
        (DType::F16, DataType::DT_HALF),
        (DType::BF16, DataType::DT_BFLOAT16),
    ] {
        for values in [&[][..], &[0.5, -2.0]] {
            let bytes = encode_splat(dtype, &[2, 2], values);
            let written = TensorProto::parse_from_bytes(&bytes).unwrap();
            assert_eq!(written.write_to_bytes().unwrap(), bytes);
            assert_eq!(written.dtype.value(), data_type.value());
            let last = values.last().copied().unwrap_or(0.0);
            let first = values.first().copied().unwrap_or(0.0);
            assert_eq!(floats(&bytes), [first, last, last, last]);
        }
    }
}

fn read_everything(bytes: &[u8]) {
    if let Ok(view) = TensorView::parse(bytes, usize::MAX / 2, "w") {
        if let Ok(data) = view.float_data() {
            assert_eq!(data.len(), view.elements());
            assert!(data.stored().len() <= data.len());
            let _ = data.chunk(0..data.len().min(1000)).len();
        }
        if let Ok(values) = view.int_values() {
            assert_eq!(values.len(), view.elements());
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        read_everything(&bytes);
    }

    #[test]
    fn damaged_tensors_never_panic(
        dtype in 0..40_u64, shape in prop::collection::vec(0..5_i64, 0..4), values: Vec<f32>, at: prop::sample::Index, byte: u8,
    ) {
        let mut bytes = Vec::new();
        put_tag(&mut bytes, 1, 0);
        put_varint(&mut bytes, dtype);
        bytes.extend(proto(DataType::DT_INVALID, &shape, |tensor| {
            tensor.half_val = values.iter().map(|value| value.to_bits().cast_signed()).collect();
            tensor.int_val = tensor.half_val.clone();
            tensor.float_val = values;
        }));
        read_everything(&bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read_everything(&bytes);
    }

    #[test]
    fn float_values_are_those_that_protobuf_reads(values: Vec<f32>) {
        let rank_one = [i64::try_from(values.len()).unwrap()];
        let bytes = proto(DataType::DT_FLOAT, &rank_one, |tensor| tensor.float_val.clone_from(&values));
        let data = TensorView::parse(&bytes, BASE, "w").unwrap().float_data().unwrap();
        let bits: Vec<u32> = data.chunk(0..data.len()).iter().map(|value| value.to_bits()).collect();
        prop_assert_eq!(bits, values.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
    }
}
