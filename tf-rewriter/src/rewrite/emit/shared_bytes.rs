//! Codes that share bytes, and the stock ops that give each a byte of its own again.
//!
//! ```text
//! bytes [n, 1] ──RightShift by [0, 4] or [0, 2, 4, 6]──▶ [n, k] ──BitwiseAnd──▶ [n, k] ──(Slice)──▶ Reshape ──▶ the weight's shape
//! ```

use quant_math::weights::Storage;

use super::Editor;
use super::maker::{Maker, plain};
use super::node::NewNode;
use crate::find::sites::Weight;
use crate::graphdef::pb::DataType;

const BYTE: DataType = DataType::DT_UINT8;

/// Type and shape of the constant that holds the codes of a weight.
pub(super) fn constant(storage: Storage, weight: &Weight, bytes: usize) -> (DataType, Vec<u64>) {
    if storage.is_shared() { (BYTE, vec![bytes as u64, 1]) } else { (DataType::DT_INT8, weight.shape.clone()) }
}

/// From the constant of [`constant`], which `codes` names, to codes of the weight's shape; the last op's reference.
pub(super) fn separated(
    maker: &mut Maker<'_>,
    editor: &mut Editor<'_>,
    storage: Storage,
    weight: &Weight,
    codes: &str,
) -> String {
    if !storage.is_shared() {
        return codes.to_owned();
    }
    let shifts: Vec<u8> = (0_u8..8).step_by(storage.bits() as usize).collect();
    let elements = weight.elements();
    let all = elements.next_multiple_of(shifts.len() as u64);
    let shifts = maker.bytes(editor, "shifts", &[shifts.len() as u64], &shifts);
    let shifted = maker.op(editor, "RightShift", "shifted", BYTE, &[codes, &shifts]);
    let mask = maker.bytes(editor, "mask", &[], &[storage.mask()]);
    let mut last = maker.op(editor, "BitwiseAnd", "masked", BYTE, &[&shifted, &mask]);
    if all != elements {
        last = reshaped(maker, editor, "flat", &last, &[all]);
        let (begin, index) = maker.sizes(editor, "begin", &[0], elements);
        let (size, _) = maker.sizes(editor, "size", &[elements], elements);
        let name = maker.part(editor, "cut");
        last = maker.push(plain("Slice", name, BYTE, &[&last, &begin, &size], maker.device).typed("Index", index));
    }
    reshaped(maker, editor, "separated", &last, &weight.shape)
}

fn reshaped(maker: &mut Maker<'_>, editor: &mut Editor<'_>, part: &str, from: &str, shape: &[u64]) -> String {
    let (by, index) = maker.sizes(editor, &format!("{part}_shape"), shape, 0);
    let name = maker.part(editor, part);
    let node: NewNode = plain("Reshape", name, BYTE, &[from, &by], maker.device);
    maker.push(node.typed("Tshape", index))
}
