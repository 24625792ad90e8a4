//! Whether a graph itself makes a batch of an input: then the input is one sample.

use tensorflow::Operation;

/// Nodes that are looked at: between an input and where its batch is made stands a cast, a scale and an offset.
const MOST: usize = 32;

/// Whether the graph puts a dimension in front of what this operation makes.
pub(super) fn gets_front(input: &Operation) -> bool {
    let mut open = vec![input.clone()];
    let mut seen = 0;
    while let Some(operation) = open.pop() {
        for (reader, position) in operation.output_consumers(0) {
            seen += 1;
            if seen > MOST {
                return false;
            }
            match reader.op_type().as_deref() {
                Ok("ExpandDims") if position == 0 && reader.num_inputs() > 1 && is_zero(&reader.input(1).0) => {
                    return true;
                }
                // x[None], x[tf.newaxis, …]
                Ok("StridedSlice")
                    if position == 0 && reader.get_attr_int("new_axis_mask").is_ok_and(|mask| mask & 1 == 1) =>
                {
                    return true;
                }
                Ok("Pack") if reader.num_inputs() == 1 && reader.get_attr_int("axis").is_ok_and(|axis| axis == 0) => {
                    return true;
                }
                Ok("Identity" | "Cast" | "Add" | "AddV2" | "Sub" | "Mul" | "Div" | "RealDiv" | "BiasAdd") => {
                    open.push(reader);
                }
                _ => {}
            }
        }
    }
    false
}

fn is_zero(axis: &Operation) -> bool {
    let short = || axis.get_attr_tensor::<i32>("value").ok().and_then(|axis| axis.first().map(|axis| *axis == 0));
    let long = || axis.get_attr_tensor::<i64>("value").ok().and_then(|axis| axis.first().map(|axis| *axis == 0));
    let constant = axis.op_type().is_ok_and(|kind| kind == "Const");
    constant && short().or_else(long).unwrap_or(false)
}
