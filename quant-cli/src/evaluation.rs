//! What a model gives on data, as text.

use quant_math::evaluation::Evaluation;

use crate::table::rows_text;

/// What `evaluate` found, for a person.
pub fn evaluation(found: &Evaluation) -> String {
    let decibel = |db: Option<f64>| db.map_or("exact".to_owned(), |db| format!("{db:.2}"));
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let mut text = format!("{} samples\n\n", found.samples);
    let header = ["output", "SQNR dB", "max error", "cosine", "top-1", "top-k", "accuracy", "reference"];
    let rows = found.outputs.iter().map(|output| {
        let error = output.error.as_ref();
        let (agreement, accuracy) = (output.agreement, output.accuracy);
        vec![
            output.name.clone(),
            error.map_or(String::new(), |error| decibel(error.sqnr_db)),
            error.map_or(String::new(), |error| format!("{:.3e}", error.max_error)),
            error.map_or(String::new(), |error| format!("{:.6}", error.cosine)),
            agreement.map_or(String::new(), |found| percent(found.top_1)),
            agreement.map_or(String::new(), |found| format!("{} (k {})", percent(found.top_k), found.k)),
            accuracy.map_or(String::new(), |found| percent(found.model)),
            accuracy.and_then(|found| found.reference).map_or(String::new(), percent),
        ]
    });
    text.push_str(&rows_text(&header, &[0], &[1, 2, 3, 4, 5, 6, 7], rows));
    if !found.layers.is_empty() {
        let rows = found.layers.iter().map(|layer| {
            let error = &layer.error;
            vec![
                layer.op_type.clone(),
                layer.name.clone(),
                decibel(error.sqnr_db),
                format!("{:.3e}", error.max_error),
                format!("{:.6}", error.cosine),
            ]
        });
        text.push_str("\n\n");
        text.push_str(&rows_text(&["op", "tensor", "SQNR dB", "max error", "cosine"], &[1], &[2, 3, 4], rows));
        text.push('\n');
        let entrances = found.entrances.iter().map(|entrance| {
            let (before, after) = (decibel(entrance.sqnr_db_before), decibel(entrance.sqnr_db));
            let what = if entrance.sqnr_db_before.is_none() { "enters" } else { "grows" };
            format!("\nthe error {what} at {} (SQNR {before} -> {after} dB)", entrance.name)
        });
        text.extend(entrances);
    }
    text.push('\n');
    text
}
