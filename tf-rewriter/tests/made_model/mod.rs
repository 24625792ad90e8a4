//! Pieces of SavedModels that are made by hand.

use tf_rewriter::wire::put_bytes;

/// A message with one length-delimited field.
pub(crate) fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, number, bytes);
    out
}

/// A map's entry with a TensorInfo { name = 1, dtype = 2, tensor_shape = 3 } of floats, which `more` fields follow.
pub(crate) fn tensor_with(key: &str, name: &str, more: &[u8]) -> Vec<u8> {
    let info = [&field(1, name.as_bytes())[..], &[0x10, 1], more].concat();
    [field(1, key.as_bytes()), field(2, &info)].concat()
}
