//! One array in NumPy's `.npy` format, read from its first sample to its last.
//!
//! Source of the format: numpy.lib.format, versions 1.0 to 3.0: magic, version, length of the header, a Python literal of a dict
//! with `descr`, `fortran_order` and `shape`, then the elements.

use std::io::{self, Read};

/// The head of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The element type without its byte order: `f4`.
    pub(crate) descr: String,
    /// The dimensions, outermost first.
    pub(crate) shape: Vec<u64>,
    /// Whether the elements are stored with their most significant byte first.
    pub(crate) big_endian: bool,
}

const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy itself refuses longer ones, unless told to trust the file.
const LONGEST: usize = 10_000;

impl Head {
    /// Read up to the first element.
    ///
    /// # Errors
    /// What is wrong with the head, or what reading said.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut fixed = [0; 8];
        read_exactly(from, &mut fixed, "the head")?;
        let Some([major, _]) = fixed.strip_prefix(MAGIC) else {
            return Err(wrong("this is no array of NumPy: it does not begin with `\\x93NUMPY`"));
        };
        let length = match major {
            1 => {
                let mut length = [0; 2];
                read_exactly(from, &mut length, "the head")?;
                usize::from(u16::from_le_bytes(length))
            }
            2 | 3 => {
                let mut length = [0; 4];
                read_exactly(from, &mut length, "the head")?;
                usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX)
            }
            other => return Err(wrong(format!("found format version {other}, expected 1 to 3"))),
        };
        if length > LONGEST {
            return Err(wrong(format!("the head says it is {length} bytes long, expected at most {LONGEST}")));
        }
        let mut text = vec![0; length];
        read_exactly(from, &mut text, "the head")?;
        let text = String::from_utf8(text).map_err(|_| wrong("the head is no text"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> io::Result<Self> {
        let missing = |key: &str| {
            wrong(format!("the head has no `{key}`, or another form of it than expected: {}", text.trim_end()))
        };
        let descr = value(text, "descr")
            .and_then(|rest| rest.strip_prefix('\'')?.split('\'').next())
            .ok_or_else(|| missing("descr"))?;
        let order = value(text, "fortran_order").ok_or_else(|| missing("fortran_order"))?;
        if !order.starts_with("False") {
            return Err(wrong("the array is in Fortran order, expected C order (`numpy.ascontiguousarray`)"));
        }
        let shape = value(text, "shape")
            .and_then(|rest| rest.strip_prefix('(')?.split_once(')'))
            .ok_or_else(|| missing("shape"))?;
        let dims = shape.0.split(',').map(str::trim).filter(|dim| !dim.is_empty());
        let shape = dims.map(str::parse).collect::<Result<Vec<u64>, _>>().map_err(|_| missing("shape"))?;
        let (order, kind) = match descr.chars().next() {
            Some('<' | '|' | '=') => (false, descr.get(1..)),
            Some('>') => (true, descr.get(1..)),
            _ => return Err(wrong(format!("elements of type `{descr}`, expected numbers"))),
        };
        Ok(Self { descr: kind.unwrap_or_default().to_owned(), shape, big_endian: order })
    }

    /// Bytes of an element, where its type is a number.
    pub(crate) fn item_size(&self) -> Option<usize> {
        self.descr.get(1..)?.parse().ok().filter(|size| (1..=16).contains(size))
    }

    /// Samples: the outermost dimension. `None` for a single number.
    pub(crate) fn samples(&self) -> Option<u64> {
        self.shape.first().copied()
    }

    /// Bytes of one sample.
    pub(crate) fn sample_bytes(&self) -> Option<usize> {
        let elements = self.shape.get(1..).unwrap_or_default().iter().try_fold(1u64, |n, dim| n.checked_mul(*dim))?;
        usize::try_from(elements).ok()?.checked_mul(self.item_size()?)
    }
}

/// What follows `'key':` in the text of a dict.
fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("'{key}'"))?;
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// Fill `to`; a file that ends before that says so.
pub(crate) fn read_exactly(from: &mut impl Read, to: &mut [u8], what: &str) -> io::Result<()> {
    from.read_exact(to).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => wrong(format!("the file ends within {what}")),
        _ => error,
    })
}

pub(crate) fn wrong(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

/// Turn the elements of a big-endian array around.
pub(crate) fn swap_bytes(bytes: &mut [u8], item: usize) {
    bytes.chunks_exact_mut(item.max(1)).for_each(<[u8]>::reverse);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> io::Result<Head> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        bytes.extend(text.as_bytes());
        Head::read(&mut bytes.as_slice())
    }

    #[test]
    fn numpys_own_heads_are_read() {
        let found = head("{'descr': '<f4', 'fortran_order': False, 'shape': (100, 8, 8, 1), }   \n").unwrap();
        assert_eq!(found, Head { descr: "f4".into(), shape: vec![100, 8, 8, 1], big_endian: false });
        assert_eq!((found.samples(), found.sample_bytes()), (Some(100), Some(256)));
        assert_eq!(head("{'descr': '>i8', 'fortran_order': False, 'shape': (3,), }").unwrap().shape, [3]);
        assert_eq!(head("{'descr': '|u1', 'fortran_order': False, 'shape': (), }").unwrap().samples(), None);
    }

    #[test]
    fn other_heads_say_what_is_wrong() {
        for (text, said) in [
            ("{'descr': '<f4', 'fortran_order': True, 'shape': (3,), }", "Fortran order"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", "`descr`"),
            ("{'descr': 'O', 'fortran_order': False, 'shape': (3,), }", "type `O`"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }", "`shape`"),
            ("{'descr': '<f4', 'fortran_order': False}", "`shape`"),
        ] {
            let error = head(text).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(Head::read(&mut &b"PK\x03\x04...."[..]).unwrap_err().to_string().contains("no array"));
        assert!(Head::read(&mut &b"\x93NUMPY\x01\x00\xff"[..]).unwrap_err().to_string().contains("ends within"));
    }

    #[test]
    fn a_sample_too_large_for_memory_has_no_size() {
        let head = Head { descr: "f4".into(), shape: vec![1, u64::MAX, 2], big_endian: false };
        assert_eq!(head.sample_bytes(), None);
    }
}
