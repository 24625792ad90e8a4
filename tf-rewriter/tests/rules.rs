//! The placement rules, one tiny graph for each: what is planned and what is written, as snapshots beside the graphs.
//!
//! `INSTA_UPDATE=always cargo test -p tf-rewriter --test rules` accepts what is written now; look at it before.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "rules/case.rs"]
mod case;
#[path = "rules/shown.rs"]
mod shown;

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use case::Case;
use quant_math::plan::{Decision, Plan, Site};
use quant_math::report::SiteReport;
use quant_math::{Emit, QuantType};
use tf_rewriter::{Graph, text};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rules"))
}

macro_rules! rules {
    ($($name:ident)*) => {
        /// Every rule has its test.
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                check(stringify!($name));
            }
        )*
    };
}

rules! {
    affine_weights
    affine_weights_per_channel
    channels_auto
    channels_batch_matmul
    channels_batch_matmul_adjoint
    channels_beside_biases
    channels_conv2d
    channels_conv2d_backprop_input
    channels_conv3d
    channels_depthwise
    channels_matmul
    channels_matmul_left
    channels_matmul_left_transposed
    channels_matmul_transposed
    cond_switch
    config_matches_nothing
    constants_are_no_activations
    denormal
    dorefa_1_bit
    dorefa_2_bits
    dorefa_32_bits
    einsum
    empty_and_zero
    encodings
    encodings_per_channel
    everything_else_is_kept
    fake_quant_is_not_doubled
    function_body
    function_output_unused
    function_types
    gather_is_named
    gather_is_told
    gradients
    gradients_need_training
    huge
    input_of_quantized_output
    input_shared
    input_shared_two_settings
    input_twice
    last_match_wins
    naive_truncate
    names_are_made_unique
    not_finite
    output_named
    output_of_placeholder
    output_of_placeholder_named
    output_of_the_graph
    output_one_of_many
    output_one_of_many_named
    output_read
    output_symmetric
    packed_is_too_narrow
    ranges_missing
    shared_behind_two_identities
    shared_both_selected
    shared_one_selected
    shared_two_settings
    training_composed
    training_is_not_for_naive
    training_names_are_taken
    training_observer_minmax
    training_observer_needs_distribution
    training_ref_variable
    training_start_step
    training_variable
    types
    weight_always
    weight_behind_cast
    weight_behind_expand_dims
    weight_behind_identity
    weight_behind_new_axes
    weight_behind_reshape
    weight_behind_reshape_that_mixes
    weight_behind_transpose
    weight_carried_by_a_loop
    weight_cast_to_integers
    weight_computed
    weight_constant
    weight_depthwise_turned
    weight_fetched
    weight_gathered_from_variable
    weight_in_branches
    weight_in_pieces
    weight_in_pieces_one_selected
    weight_in_pieces_taken_out
    weight_in_pieces_through_functions
    weight_in_variable
    weight_is_output
    weight_of_one_channel
    weight_passed_on
    weight_read_elsewhere
    weight_through_functions
    weight_turned_around_ones
    while_frame
    while_frame_dorefa
    while_frames_nested
    zero_channel
    zero_dorefa
}

#[test]
fn every_graph_in_the_folder_is_tested() {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "pbtxt"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut names = NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(found, names);
}

fn check(name: &str) {
    let source = fs::read_to_string(folder().join(format!("{name}.pbtxt"))).unwrap();
    let case = Case::read(&source);
    let binary = text::parse(&case.bytes).unwrap();
    let mut snapshot = String::new();
    let mut outputs = Vec::new();
    let mut last_plan = String::new();
    for &emit in &case.emits {
        writeln!(snapshot, "== {emit}").unwrap();
        let graph = case.open(&case.bytes).unwrap();
        match case.plan(&graph, emit) {
            Ok(plan) => {
                let lines = plan_lines(&plan);
                snapshot.push_str(if lines == last_plan { "plan as above\n" } else { &lines });
                last_plan = lines;
            }
            Err(error) => {
                writeln!(snapshot, "error {}: {error}\nhelp: {}", error.code(), error.help().unwrap_or_default())
                    .unwrap();
                continue;
            }
        }
        let mut out = Vec::new();
        match case.compress(emit).and_then(|compressed| compressed.write(&mut out)) {
            Ok(report) => {
                snapshot.push('\n');
                snapshot.extend(report.sites.iter().filter_map(report_line));
                snapshot.push('\n');
                snapshot.push_str(&shown::difference(&binary, &out));
                snapshot.push('\n');
                check_output(&case, emit, &out);
                outputs.push((emit, out));
            }
            Err(error) => writeln!(snapshot, "error {}: {error}", error.code()).unwrap(),
        }
    }
    check_packed_holds_the_baked_values(&outputs);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, snapshot));
}

/// What holds for every output: it is a legal graph, and a second run changes nothing.
fn check_output(case: &Case, emit: Emit, out: &[u8]) {
    let graph = case.open(out).unwrap();
    let plan = case.plan(&graph, emit).unwrap();
    let mut again = Vec::new();
    let report = graph.apply(&plan).unwrap().write(&mut again).unwrap();
    let quantized = report.sites.iter().filter(|site| site.site.settings().is_some());
    assert_eq!(quantized.map(|site| &site.site.op).collect::<Vec<_>>(), Vec::<&String>::new(), "{emit}, again");
    assert!(again == out, "{emit}: a second run changes the graph");
}

/// Codes and scales stand for the very values that `baked` writes.
fn check_packed_holds_the_baked_values(outputs: &[(Emit, Vec<u8>)]) {
    let find = |wanted| outputs.iter().find(|(emit, _)| *emit == wanted).map(|(_, bytes)| bytes);
    let (Some(baked), Some(packed)) = (find(Emit::Baked), find(Emit::Packed)) else { return };
    let open = |bytes: &Vec<u8>| Graph::from_bytes(bytes.clone()).unwrap();
    let difference = open(baked).diff(&open(packed)).unwrap();
    assert!(difference.tensors.is_empty(), "{:?}", difference.tensors);
}

fn plan_lines(plan: &Plan) -> String {
    let mut lines: String = plan.sites.iter().map(site_line).collect();
    for warning in &plan.warnings {
        writeln!(lines, "warning {}: {}", warning.code, warning.text).unwrap();
    }
    lines
}

/// `weight of conv (Conv2D), w:0 f32 [1, 2]: 8 bits …`.
fn site_line(site: &Site) -> String {
    let mut line = format!("{} of {} ({}), {}", site.kind, site.op, site.op_type, site.tensor);
    if let Some(dtype) = site.dtype {
        write!(line, " {dtype:?}").unwrap();
    }
    if let Some(shape) = &site.shape {
        write!(line, " {shape:?}").unwrap();
    }
    match &site.decision {
        Decision::Quantize(settings) => {
            let symmetric = if settings.symmetric { "symmetric" } else { "affine" };
            let axis = settings.channel_axis.map_or_else(String::new, |axis| format!(", axis {axis}"));
            writeln!(line, ": {} bits {symmetric}{axis}, config_list[{}]", settings.bits, settings.entry)
        }
        Decision::Skip(reason) => writeln!(line, ": skip {}: {}", reason.code, reason.text),
    }
    .unwrap();
    line
}

fn report_line(found: &SiteReport) -> Option<String> {
    let site = &found.site;
    let what = match &site.decision {
        Decision::Skip(reason) if ["all-zero", "shared-across-functions"].contains(&reason.code.as_str()) => {
            reason.text.clone()
        }
        Decision::Skip(_) => return None,
        Decision::Quantize(_) => match found.scale {
            Some((low, high)) if low < high => format!("scales {low} to {high}"),
            Some((scale, _)) => format!("scale {scale}"),
            None => "no scale".to_owned(),
        },
    };
    let mut line = format!("{} of {}: {what}", site.kind, site.op);
    if let Some(metrics) = found.metrics.filter(|_| site.kind == QuantType::Weight) {
        write!(line, ", largest error {:.3e}", metrics.max_error).unwrap();
    }
    writeln!(line, ", {} -> {} bytes", found.bytes_before, found.bytes_after).unwrap();
    Some(line)
}
