//! Which part of a tensor RestoreV2 asks for.
//!
//! ```text
//! ""                  all of it
//! "4 5 0,2:-"         of a tensor of shape [4, 5], two from 0 on in the first dimension, all of the second
//! ```
//!
//! Source: TensorFlow 2.21, `ParseShapeAndSlice` and `TensorSlice::Parse`.

use super::entry::Extent;
use super::region::Region;
use crate::error::Error;

/// The part that `text` names of a tensor of this shape.
pub(super) fn region(text: &str, shape: &[u64], name: &str) -> Result<Region, Error> {
    let error = |why: String| Error::NoSuchPart { name: name.to_owned(), part: text.to_owned(), why };
    let of_shape = || format!("the tensor has the shape {shape:?}");
    if text.is_empty() {
        return Region::whole(shape).ok_or_else(|| error(of_shape()));
    }
    let (full, extents) = parse(text).ok_or_else(|| {
        error("expected a shape and, for each dimension, `start,length` or `-`: `4 5 0,2:-`".to_owned())
    })?;
    if full != shape {
        return Err(error(of_shape()));
    }
    Region::new(shape, &extents).ok_or_else(|| error(of_shape()))
}

fn parse(text: &str) -> Option<(Vec<u64>, Vec<Extent>)> {
    let (full, slice) = match text.rsplit_once(' ') {
        Some((full, slice)) => (full.split(' ').map(number).collect::<Option<_>>()?, slice),
        // Of a scalar there is but its end.
        None => (Vec::new(), text),
    };
    let extent = |text: &str| {
        if text == "-" {
            return Some(Extent { start: 0, length: None });
        }
        let (start, length) = text.split_once(',')?;
        Some(Extent { start: number(start)?, length: Some(number(length)?) })
    };
    let extents = if slice.is_empty() { Vec::new() } else { slice.split(':').map(extent).collect::<Option<_>>()? };
    Some((full, extents))
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_tensorflow_writes_it() {
        let shape = |text, shape: &[u64]| region(text, shape, "w").map(|region| region.shape());
        assert_eq!(shape("", &[4, 5]).unwrap(), [4, 5]);
        assert_eq!(shape("4 5 0,2:0,5", &[4, 5]).unwrap(), [2, 5]);
        assert_eq!(shape("4 5 1,2:-", &[4, 5]).unwrap(), [2, 5]);
        assert_eq!(shape("4 -", &[4]).unwrap(), [4]);
        assert_eq!(region("", &[], "w").unwrap(), Region::whole(&[]).unwrap());
        for wrong in [
            "4 5",
            "4 5 0,2",
            "4 5 0,2:0,6",
            "4 5 0,2:0,5:0,1",
            "4 6 0,2:0,5",
            "x",
            "4 5 0,2:+0,5",
            "4 5 0,2:0;5",
            "4  5 0,2:0,5",
            " ",
            "4 5 -:-1,2",
            "4 5 99999999999999999999,1:-",
            "4 5 18446744073709551615,1:-",
        ] {
            let error = shape(wrong, &[4, 5]).unwrap_err();
            assert_eq!(error.code(), "E0704", "{wrong}");
        }
        let error = shape("4 6 0,2:0,5", &[4, 5]).unwrap_err();
        let expected = "there is no part `4 6 0,2:0,5` of the tensor `w`: the tensor has the shape [4, 5]";
        assert_eq!(error.to_string(), expected);
    }
}
