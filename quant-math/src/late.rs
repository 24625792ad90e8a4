//! Sites whose quantization begins at a later step of a training (`quant_start_step`), and trainings that end before.

use crate::codes;
use crate::plan::{Decision, Emit, Reason, Site};

/// What a user should know of sites that a training leaves in float at first.
pub(crate) fn starts(emit: Emit, sites: &[Site]) -> Option<Reason> {
    let starts = sites.iter().filter_map(|site| Some(site.settings()?.quant_start_step)).filter(|start| *start > 0);
    let (count, last) = starts.fold((0usize, 0), |(count, last), start| (count + 1, last.max(start)));
    (emit == Emit::Training && count > 0).then(|| {
        let text = format!(
            "quantization begins at step {last} (`quant_start_step`) at {count} of the sites: a training of no more steps leaves them in float"
        );
        Reason::new(codes::LATE_START, text)
    })
}

/// How far a training has come, and where a site's quantization begins that has not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Training steps so far.
    pub step: u64,
    /// The site's `quant_start_step`.
    pub start: u64,
}

impl Before {
    /// `None` where the start step has come.
    pub fn new(step: u64, start: u64) -> Option<Self> {
        (step < start).then_some(Self { step, start })
    }
}

/// Why a site is float in what was trained: its start step has not come, or it needs a range or a step and has none.
pub fn not_begun(before: Option<Before>) -> Reason {
    let text = match before {
        Some(Before { step, start }) => format!("step {step} of {start}: quantization had not begun"),
        None => "it has neither range nor step: no training pass ran through it".to_owned(),
    };
    Reason::new(codes::NOT_BEGUN, text)
}

/// What a user should know where sites of what was trained are float for that reason. `before` are those of its sites.
pub fn warning(sites: &[Site], before: impl IntoIterator<Item = Before>) -> Option<Reason> {
    let late = |site: &&Site| matches!(&site.decision, Decision::Skip(reason) if reason.is(codes::NOT_BEGUN));
    let count = sites.iter().filter(late).count();
    if count == 0 {
        return None;
    }
    let (of, are) = (sites.len(), if count == 1 { "is" } else { "are" });
    let text = match before.into_iter().max_by_key(|before| before.start) {
        Some(Before { step, start }) => format!(
            "step {step} of {start}: quantization had not begun at {count} of {of} sites, which {are} float now; train for more than {start} \
             steps, or quantize with a smaller `quant_start_step`"
        ),
        None => {
            format!("no training pass ran through {count} of {of} sites, which {are} float now: train before freezing")
        }
    };
    Some(Reason::new(codes::NOT_BEGUN, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QuantType;

    fn site(decision: Decision) -> Site {
        let text = String::new;
        Site {
            op: text(),
            op_type: text(),
            kind: QuantType::Output,
            tensor: text(),
            dtype: None,
            shape: None,
            decision,
            range: None,
            steps: None,
        }
    }

    #[test]
    fn the_last_start_is_what_counts() {
        assert_eq!(Before::new(7, 7), None);
        let sites = [site(Decision::Skip(not_begun(None))), site(Decision::Skip(not_begun(Before::new(700, 7000))))];
        let told = warning(&sites, [Before { step: 700, start: 800 }, Before { step: 700, start: 7000 }]).unwrap();
        assert!(told.text.starts_with("step 700 of 7000: quantization had not begun at 2 of 2 sites"), "{told:?}");
        assert!(warning(&sites, []).unwrap().text.contains("no training pass"));
        assert_eq!(warning(&[site(Decision::Skip(Reason::new(codes::WEIGHTS_ONLY, "")))], []), None);
    }
}
