//! What is in a model, and what differs between two, as text.

use std::fmt::Write;

use comfy_table::Cell;
use quant_math::difference::Difference;
use quant_math::inspection::{Inspection, Port};

use crate::size::{count, human_bytes, share};
use crate::table::{self, Layout, SHOWN, cell, terminal_width};

/// The text of `inspect`, as wide as the terminal.
pub fn inspection(found: &Inspection) -> String {
    inspection_in(found, terminal_width())
}

/// The text of `inspect` in a width; `None` is as wide as it needs to be.
pub fn inspection_in(found: &Inspection, width: Option<u16>) -> String {
    let mut text = format!("{}, {}, {}\n", found.format, human_bytes(found.bytes), found.fingerprint);
    for (title, ports) in [("input", &found.inputs), ("output", &found.outputs)] {
        for port in ports {
            line(&mut text, format_args!("{title:<7} {}", shown(port)));
        }
    }
    let types: Vec<_> = found.op_types.iter().take(12).map(|(op, n)| format!("{} {n}", cell(op))).collect();
    let more = found.op_types.len().saturating_sub(types.len());
    let more = if more == 0 { String::new() } else { format!(", and {}", count(more, "more type")) };
    line(&mut text, format_args!("ops     {}{more}", types.join(", ")));

    let layout = Layout {
        header: &["op", "name", "weight", "shape", "type", "range", "bytes", "quantized"],
        wrap: &[1, 2],
        right: &[6],
    };
    let mut table = table::new(&layout);
    for weight in found.weights.iter().take(SHOWN) {
        let shape: Vec<_> = weight.shape.iter().map(u64::to_string).collect();
        let range = weight.range.map_or_else(|| "-".to_owned(), |r| format!("{:.4} … {:.4}", r.min, r.max));
        table.add_row([
            cell(&weight.op_type),
            cell(&weight.op),
            cell(&weight.tensor),
            cell(&format!("[{}]", shape.join(", "))),
            format!("{:?}", weight.dtype).to_lowercase(),
            range,
            human_bytes(weight.bytes),
            cell(weight.quantized.as_deref().unwrap_or("-")),
        ]);
    }
    if !found.weights.is_empty() {
        line(&mut text, format_args!("\n{}", table::text(table, width, &layout)));
        text.push_str(&table::rest(found.weights.len()));
    }
    line(
        &mut text,
        format_args!(
            "\n{}, {} of {} ({})",
            count(found.weights.len(), "weight"),
            human_bytes(found.weight_bytes),
            human_bytes(found.bytes),
            share(found.bytes, found.weight_bytes).unwrap_or_default()
        ),
    );
    if !found.quantized.is_empty() {
        line(&mut text, format_args!("\n{} quantized by earlier runs", count(found.quantized.len(), "site")));
        let layout = Layout { header: &["op", "kind", "tensor", "bits", "how", "form"], wrap: &[0, 2], right: &[3] };
        let mut table = table::new(&layout);
        for site in found.quantized.iter().take(SHOWN) {
            let granularity = if site.settings.channel_axis.is_some() { "per channel" } else { "per tensor" };
            table.add_row([
                cell(&site.op),
                site.kind.to_string(),
                cell(&site.tensor),
                site.settings.bits.to_string(),
                format!("{} {granularity}", site.settings.quantizer),
                site.emit.to_string(),
            ]);
        }
        line(&mut text, format_args!("\n{}", table::text(table, width, &layout)));
        text.push_str(&table::rest(found.quantized.len()));
    }
    if !found.ranges.is_empty() {
        line(&mut text, format_args!("{} in the model already", count(found.ranges.len(), "quantization op")));
        for op in found.ranges.iter().take(SHOWN) {
            let bits = op.bits.map(|b| format!(", {b} bits")).unwrap_or_default();
            let range = op.range.map(|r| format!(", {:.4} … {:.4}", r.min, r.max)).unwrap_or_default();
            let how = op.how.as_ref().map(|how| format!(", {}", cell(how))).unwrap_or_default();
            let (name, kind) = (cell(&op.op), cell(&op.op_type));
            line(&mut text, format_args!("  {name} ({kind}{bits}{range}{how})"));
        }
        text.push_str(&table::rest(found.ranges.len()));
    }
    text
}

/// A shape: `[?, 28, 28]`.
pub fn shape_text(shape: &[i64]) -> String {
    let dims: Vec<_> = shape.iter().map(|d| if *d < 0 { "?".to_owned() } else { d.to_string() }).collect();
    format!("[{}]", dims.join(", "))
}

fn shown(port: &Port) -> String {
    let dims = port.shape.as_ref().map(|shape| format!(" {}", shape_text(shape)));
    let dtype = port.dtype.as_ref().map(|d| format!(" {d}")).unwrap_or_default();
    format!("{}{dtype}{}", cell(&port.name), dims.unwrap_or_default())
}

/// The text of `diff`, as wide as the terminal.
pub fn difference(found: &Difference) -> String {
    difference_in(found, terminal_width())
}

/// The text of `diff` in a width; `None` is as wide as it needs to be.
pub fn difference_in(found: &Difference, width: Option<u16>) -> String {
    let mut text = String::new();
    let layout = Layout {
        header: &["tensor", "shape", "differing", "levels", "max error", "SQNR dB"],
        wrap: &[0],
        right: &[2, 3, 4, 5],
    };
    let mut table = table::new(&layout);
    for tensor in found.tensors.iter().take(SHOWN) {
        let shape: Vec<_> = tensor.shape.iter().map(u64::to_string).collect();
        let levels = |levels: Option<usize>| levels.map_or_else(|| "float".to_owned(), |n| n.to_string());
        table.add_row([
            Cell::new(cell(&tensor.tensor)),
            Cell::new(cell(&format!("[{}]", shape.join(", ")))),
            Cell::new(format!("{} of {}", tensor.differing, tensor.elements)),
            Cell::new(format!("{} -> {}", levels(tensor.levels_first), levels(tensor.levels_second))),
            Cell::new(format!("{:.3e}", tensor.metrics.max_error)),
            Cell::new(tensor.metrics.sqnr_db.map_or_else(|| "-".to_owned(), |db| format!("{db:.2}"))),
        ]);
    }
    if !found.tensors.is_empty() {
        line(&mut text, format_args!("{}", table::text(table, width, &layout)));
        text.push_str(&table::rest(found.tensors.len()));
        text.push('\n');
    }
    line(
        &mut text,
        format_args!("{} with other values, {} the same", count(found.tensors.len(), "tensor"), found.same),
    );
    for (what, names) in [
        ("only in the first", &found.only_in_first),
        ("only in the second", &found.only_in_second),
        ("changed", &found.changed),
    ] {
        if let Some(first) = names.first() {
            line(&mut text, format_args!("{} {what}, for example `{}`", count(names.len(), "op"), cell(first)));
        }
    }
    let sizes = share(found.bytes_first, found.bytes_second).unwrap_or_default();
    let (first, second) = (human_bytes(found.bytes_first), human_bytes(found.bytes_second));
    line(&mut text, format_args!("file  {first} -> {second} ({sizes})"));
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _: std::fmt::Result = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use quant_math::difference::compare;

    use super::*;

    #[test]
    fn a_difference_names_tensor_levels_and_error() {
        let tensor = compare("w", &[2], &[0.5f32, 1.0][..], &[0.5f32, 0.75][..]).unwrap();
        let found = Difference {
            tensors: vec![tensor],
            same: 3,
            only_in_first: vec![],
            only_in_second: vec!["w/codes".to_owned()],
            changed: vec![],
            bytes_first: 100,
            bytes_second: 25,
        };
        let text = difference_in(&found, None);
        assert!(text.contains("1 of 2"), "{text}");
        assert!(text.contains("2 -> 2") && text.contains("2.500e-1"), "{text}");
        assert!(text.contains("1 tensor with other values, 3 the same"), "{text}");
        assert!(text.contains("1 op only in the second, for example `w/codes`"), "{text}");
        assert!(text.contains("file  100 B -> 25 B (25.0 %)"), "{text}");
    }

    #[test]
    fn an_inspection_shows_open_dimensions_and_types() {
        let port = Port { name: "image".to_owned(), dtype: Some("float32".to_owned()), shape: Some(vec![-1, 8, 8, 1]) };
        let found = Inspection {
            format: "GraphDef (binary)".to_owned(),
            bytes: 2048,
            fingerprint: "crc32c:00000000:2048".to_owned(),
            inputs: vec![port],
            outputs: vec![],
            op_types: vec![("Const".to_owned(), 2)],
            weights: vec![],
            ranges: vec![],
            quantized: vec![],
            weight_bytes: 0,
        };
        let text = inspection_in(&found, None);
        assert!(text.contains("input   image float32 [?, 8, 8, 1]"), "{text}");
        assert!(text.contains("ops     Const 2"), "{text}");
    }
}
