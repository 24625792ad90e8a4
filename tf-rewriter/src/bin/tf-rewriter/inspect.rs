//! `inspect` for a person: what is around the graph of a model, then the graph.

use std::fmt::Write;

use quant_cli::{count, human_bytes, inspection, list_text, printable_line, shape_text};
use tf_rewriter::{Container, MetaGraphInfo, ModelInfo, NotFlat, SignatureInfo, VariableInfo};

/// What the keys of objects end in, in checkpoints of TensorFlow 2.
const VALUE: &str = "/.ATTRIBUTES/VARIABLE_VALUE";

/// The text, as wide as the terminal.
pub(crate) fn text(found: &ModelInfo) -> String {
    let parts = [
        found.container.as_ref().map(container),
        found.graph.as_ref().map(|graph| match &found.container {
            Some(_) => format!("flat graph: {}", inspection(graph)),
            None => inspection(graph),
        }),
        found.not_flat.as_ref().map(not_flat),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn not_flat(why: &NotFlat) -> String {
    let help = why.help.as_ref().map(|help| format!("\n  help: {}", printable_line(help))).unwrap_or_default();
    format!("no sites: {} ({}){help}\n", printable_line(&why.message), why.code)
}

fn container(found: &Container) -> String {
    let mut parts = vec![heading(found)];
    let is_chosen = found.meta_graphs.iter().any(|meta| meta.chosen);
    for meta in found.meta_graphs.iter().filter(|meta| meta.chosen || !is_chosen) {
        let tags = (!is_chosen).then(|| format!("signatures of `{}`\n", tags(meta)));
        parts.extend(tags);
        parts.extend(meta.signatures.iter().map(signature));
        parts.extend(assets(meta));
        parts.extend(meta.init_op.as_ref().map(|op| format!("init op  {}\n", printable_line(op))));
    }
    parts.extend(ports(found));
    parts.extend(tables(found));
    parts.extend(variables(found));
    parts.join("\n")
}

/// What it is; of several meta graphs, a row for each.
fn heading(found: &Container) -> String {
    let version = |meta: &MetaGraphInfo| meta.tensorflow_version.as_deref().map(printable_line).unwrap_or_default();
    match found.meta_graphs.as_slice() {
        [one] => {
            let version = Some(version(one)).filter(|version| !version.is_empty());
            let version = version.map(|version| format!(", TensorFlow {version}")).unwrap_or_default();
            let tags = Some(tags(one)).filter(|tags| !tags.is_empty());
            let tags = tags.map(|tags| format!(", tags `{tags}`")).unwrap_or_default();
            format!("{}{tags}{version}\n", found.format)
        }
        several => {
            let rows = several.iter().map(|meta| {
                let chosen = if meta.chosen { "yes" } else { "" };
                vec![tags(meta), version(meta), meta.signatures.len().to_string(), chosen.to_owned()]
            });
            let header = ["tags", "TensorFlow", "signatures", "chosen"];
            let graphs = count(several.len(), "meta graph");
            format!("{}, {graphs}\n\n{}", found.format, list_text(&header, &[0], &[2], rows))
        }
    }
}

fn tags(meta: &MetaGraphInfo) -> String {
    printable_line(&meta.tags.join(","))
}

fn signature(found: &SignatureInfo) -> String {
    let sides = [("input", &found.inputs), ("output", &found.outputs)];
    let rows = sides.into_iter().flat_map(|(side, tensors)| tensors.iter().map(move |tensor| (side, tensor)));
    let rows: Vec<_> = rows
        .map(|(side, tensor)| {
            let shape = tensor.shape.as_deref().map_or_else(|| "unknown".to_owned(), shape_text);
            vec![side.to_owned(), tensor.key.clone(), tensor.dtype.clone(), shape, tensor.tensor.clone()]
        })
        .collect();
    let chosen = if found.chosen { ", chosen" } else { "" };
    let method = Some(printable_line(&found.method_name)).filter(|method| !method.is_empty());
    let method = method.map(|method| format!(" ({method})")).unwrap_or_default();
    let title = format!("signature {}{method}{chosen}\n", printable_line(&found.key));
    title + &list_text(&["", "key", "type", "shape", "tensor"], &[1, 4], &[], rows.into_iter())
}

fn assets(meta: &MetaGraphInfo) -> Option<String> {
    let rows = meta.assets.iter().map(|asset| {
        let bytes = asset.bytes.map_or_else(|| "missing".to_owned(), human_bytes);
        vec![asset.file.clone(), bytes, asset.tensor.clone()]
    });
    (!meta.assets.is_empty()).then(|| list_text(&["asset", "bytes", "tensor"], &[0, 2], &[1], rows))
}

fn tables(found: &Container) -> Option<String> {
    let dtype = |dtype: &Option<String>| dtype.clone().unwrap_or_else(|| "?".to_owned());
    let rows = found.tables.iter().map(|table| {
        let types = format!("{} -> {}", dtype(&table.key_dtype), dtype(&table.value_dtype));
        vec![table.name.clone(), table.op.clone(), types]
    });
    (!found.tables.is_empty()).then(|| list_text(&["lookup table", "op", "keys -> values"], &[0], &[], rows))
}

/// What is fed and fetched, where no signature says it.
fn ports(found: &Container) -> Option<String> {
    let sides = [("input", &found.inputs), ("output", &found.outputs)];
    let rows = sides.into_iter().flat_map(|(side, ports)| ports.iter().map(move |port| (side, port)));
    let rows = rows.map(|(side, port)| {
        let shape = port.shape.as_deref().map_or_else(|| "unknown".to_owned(), shape_text);
        vec![side.to_owned(), port.name.clone(), port.dtype.clone().unwrap_or_default(), shape]
    });
    let rows: Vec<_> = rows.collect();
    (!rows.is_empty())
        .then(|| format!("no signature\n{}", list_text(&["", "node", "type", "shape"], &[1], &[], rows.into_iter())))
}

fn variables(found: &Container) -> Option<String> {
    let all = &found.variables;
    if all.is_empty() && found.checkpoint.is_none() {
        return None;
    }
    let (needed, others): (Vec<&VariableInfo>, Vec<&VariableInfo>) = all.iter().partition(|variable| variable.needed);
    let mut text = variable_table(found, &needed);
    let lacking = |variables: &[&VariableInfo]| variables.iter().filter(|variable| !variable.has_value()).count();
    let said = |variables: &[&VariableInfo], what: &str| {
        let bytes = variables.iter().filter_map(|variable| variable.bytes).fold(0, u64::saturating_add);
        let missing = Some(lacking(variables)).filter(|count| *count > 0);
        let missing = missing.map(|count| format!(", {count} of them without a value")).unwrap_or_default();
        format!("{}{what}, {}{missing}", count(variables.len(), "variable"), human_bytes(bytes))
    };
    line(&mut text, &said(&needed, ""));
    if !others.is_empty() {
        line(&mut text, &said(&others, " that no output needs"));
    }
    let Some(checkpoint) = &found.checkpoint else {
        line(&mut text, "no checkpoint");
        return Some(text);
    };
    line(&mut text, &format!("checkpoint {}", checkpoint.prefix));
    for (number, file) in checkpoint.files.iter().enumerate() {
        let number = if checkpoint.files.len() > 1 { format!("file {number}  ") } else { String::new() };
        line(&mut text, &format!("  {number}{} ({})", file.file, human_bytes(file.bytes)));
    }
    if all.iter().any(|variable| variable.key.as_ref().is_some_and(|key| key.ends_with(VALUE))) {
        line(&mut text, &format!("  keys end in {VALUE}"));
    }
    let second = all.iter().filter(|variable| variable.second_key.is_some()).count();
    if second > 0 {
        line(&mut text, &format!("  {} stored under a second key too", count(second, "variable")));
    }
    if !checkpoint.unread.is_empty() {
        line(&mut text, &format!("  {} that no variable reads", count(checkpoint.unread.len(), "tensor")));
    }
    Some(text)
}

/// Those without a value first, since they are what is looked for.
fn variable_table(found: &Container, variables: &[&VariableInfo]) -> String {
    if variables.is_empty() {
        return String::new();
    }
    let files = found.checkpoint.as_ref().map(|checkpoint| checkpoint.files.as_slice()).unwrap_or_default();
    let mut sorted = variables.to_vec();
    sorted.sort_by_key(|variable| variable.has_value());
    // TensorFlow 1 stores variables under their own names: then there is nothing to tell.
    let is_own = |variable: &&VariableInfo| {
        variable.slice.is_none() && variable.key.as_ref().is_none_or(|key| *key == variable.name)
    };
    let are_own = sorted.iter().all(is_own);
    let rows = sorted.iter().map(|variable| {
        let stored = variable.key.as_ref().filter(|_| variable.bytes.is_some() && !are_own);
        let key = stored.map(|key| {
            let slice = variable.slice.as_ref().map(|slice| format!(" [{slice}]")).unwrap_or_default();
            format!("{}{slice}", key.strip_suffix(VALUE).unwrap_or(key))
        });
        let asset = variable.asset.as_ref().map(|file| format!("path of {file}"));
        // The lines below number the files; of one there is nothing to tell.
        let numbers =
            files.iter().enumerate().filter(|(_, file)| files.len() > 1 && variable.files.contains(&file.file));
        let numbers: Vec<String> = numbers.map(|(number, _)| number.to_string()).collect();
        vec![
            variable.name.clone(),
            variable.dtype.clone().unwrap_or_default(),
            variable.shape.as_deref().map_or_else(|| "unknown".to_owned(), shape_text),
            variable.bytes.map_or_else(|| if asset.is_some() { "-" } else { "no value" }.to_owned(), human_bytes),
            key.or(asset).unwrap_or_default(),
            numbers.join(" "),
        ]
    });
    list_text(&["variable", "type", "shape", "bytes", "key", "file"], &[0, 4, 5], &[3], rows) + "\n"
}

fn line(text: &mut String, line: &str) {
    // Writing to a String does not fail.
    let _: std::fmt::Result = writeln!(text, "{}", printable_line(line));
}
