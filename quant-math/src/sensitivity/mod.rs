//! What each site of a model costs at each number of bits, measured on the model's outputs; made by adapters that can run a model.

mod port;
mod trials;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::divergence::Scores;
use crate::evaluation::noise_to_signal;
use crate::metrics::Metrics;
use crate::plan::{QuantType, Quantizer, Reason};

pub use port::Port;
pub use trials::{Mixture, Quantized, Trial, Trials, activations_not_tried, numbers_of_bits, plan_at};

/// The version of the JSON form; raised when a field changes its meaning.
pub const SENSITIVITY_VERSION: u32 = 1;

/// What sites are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RankedBy {
    /// The Kullback-Leibler divergence of the outputs that are scores of classes, in nats a row, added up over these outputs.
    Kl,
    /// The power of the error over the power of the output, added up over all outputs: none is scores of classes.
    Noise,
}

/// An output that is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Its name in the model.
    pub name: String,
    /// What its numbers are; `None`: no scores of classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
    /// How that is known.
    pub known_by: String,
    /// How often the float model is right, 0 to 1, where there are labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// How far an output is from the float model's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutputLoss {
    /// The Kullback-Leibler divergence in nats a row, where it has scores of classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    /// The error of its numbers as they are.
    pub error: Metrics,
    /// The share of samples whose first class is that of the float model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_1: Option<f64>,
    /// The share of samples whose first class is the label's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

/// How far a model is from the float model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// What sites are ranked by.
    pub loss: f64,
    /// Each output, in the order of [`Sensitivity::outputs`].
    pub outputs: Vec<OutputLoss>,
}

impl Loss {
    /// Of the outputs of one model.
    pub fn new(ranked_by: RankedBy, outputs: Vec<OutputLoss>) -> Self {
        let loss = match ranked_by {
            RankedBy::Kl => outputs.iter().filter_map(|output| output.kl).sum(),
            RankedBy::Noise => outputs.iter().map(|output| noise_to_signal(&output.error)).sum(),
        };
        Self { loss, outputs }
    }

    /// The worse one first; of equal ones, that whose outputs are farther off.
    fn order(&self, other: &Self) -> Ordering {
        let mse = |loss: &Self| loss.outputs.iter().map(|output| output.error.mse).sum::<f64>();
        other.loss.total_cmp(&self.loss).then_with(|| mse(other).total_cmp(&mse(self)))
    }

    /// Whether it is nothing that a user would see: every first class is the float model's, or, where there are no classes, the error has less
    /// than a thousandth of the outputs' power.
    fn is_nothing(&self) -> bool {
        let mut firsts = self.outputs.iter().filter_map(|output| output.top_1).peekable();
        match firsts.peek() {
            Some(_) => firsts.all(|share| share >= 1.0),
            None => self.outputs.iter().all(|output| output.error.sqnr_db.is_none_or(|db| db > 30.0)),
        }
    }
}

/// A site at a number of bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AtBits {
    /// Bits of a code.
    pub bits: u32,
    /// Its place among the sites at these bits, 1 for the worst.
    pub rank: usize,
    /// The model in which this site alone is quantized.
    pub alone: Loss,
    /// The model in which every site but this one is quantized, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_but: Option<Loss>,
    /// How far the weight itself is from the float one, which says nothing of the loss; `None`: exact, or no weight.
    pub weight_sqnr_db: Option<f64>,
}

/// A site at every number of bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteSensitivity {
    /// The op.
    pub op: String,
    /// Its type.
    pub op_type: String,
    /// Which of its tensors.
    pub kind: QuantType,
    /// The tensor.
    pub tensor: String,
    /// Its shape, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<u64>>,
    /// Each number of bits, most first.
    pub at: Vec<AtBits>,
}

/// The model in which every site is quantized.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Whole {
    /// Bits of a code.
    pub bits: u32,
    /// How far it is off.
    #[serde(flatten)]
    pub loss: Loss,
}

/// What `sensitivity` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// [`SENSITIVITY_VERSION`].
    pub version: u32,
    /// What has run the model, with its version.
    pub framework: String,
    /// The quantizer.
    pub quantizer: Quantizer,
    /// Samples that were run.
    pub samples: u64,
    /// The numbers of bits, most first.
    pub bits: Vec<u32>,
    /// What sites are ranked by.
    pub ranked_by: RankedBy,
    /// The outputs that are compared.
    pub outputs: Vec<Output>,
    /// Every site quantized, at each number of bits.
    pub whole: Vec<Whole>,
    /// Each site, the worst at the fewest bits first.
    pub sites: Vec<SiteSensitivity>,
    /// What follows from it.
    pub advice: Option<Advice>,
    /// What a user should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Reason>,
}

/// What the numbers say should be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// The most bits at which the model as a whole loses something.
    pub bits: u32,
    /// The fewest of the worst sites that have more than half of the loss there, where they are few.
    pub sites: Vec<String>,
    /// Their share of the loss of all sites, each alone.
    pub share: f64,
    /// What to put behind the other entries of the config.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<serde_json::Value>,
    /// The same for a person; the entry stands behind it.
    pub text: String,
}

impl Sensitivity {
    /// Rank the sites and say what follows.
    #[must_use]
    pub fn ranked(mut self) -> Self {
        for at in 0..self.bits.len() {
            let alone = |site: &SiteSensitivity| site.at.get(at).map(|at| at.alone.clone());
            let mut order: Vec<(usize, Loss)> =
                self.sites.iter().enumerate().filter_map(|(number, site)| Some((number, alone(site)?))).collect();
            order.sort_by(|(_, a), (_, b)| a.order(b));
            for (place, (number, _)) in order.into_iter().enumerate() {
                if let Some(found) = self.sites.get_mut(number).and_then(|site| site.at.get_mut(at)) {
                    found.rank = place + 1;
                }
            }
        }
        self.sites.sort_by_key(|site| site.at.last().map(|at| at.rank));
        self.advice = self.advise();
        self
    }

    fn advise(&self) -> Option<Advice> {
        let (at, whole) = self.whole.iter().enumerate().find(|(_, whole)| !whole.loss.is_nothing())?;
        let bits = whole.bits;
        let mut ranked: Vec<(&SiteSensitivity, &AtBits)> =
            self.sites.iter().filter_map(|site| Some((site, site.at.get(at)?))).collect();
        ranked.sort_by_key(|(_, at)| at.rank);
        let total: f64 = ranked.iter().map(|(_, at)| at.alone.loss).sum();
        if total.is_nan() || total <= 0.0 {
            return None;
        }
        let mut sum = 0.0;
        let worst: Vec<&SiteSensitivity> = ranked
            .iter()
            .take_while(|(_, at)| {
                let more = sum <= total / 2.0;
                sum += if more { at.alone.loss } else { 0.0 };
                more
            })
            .map(|(site, _)| *site)
            .collect();
        let share = sum / total;
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        if 4 * worst.len() > ranked.len().max(4) {
            let text = format!(
                "at {bits} bits the loss is spread: the {} worst of {} sites have {} of it; no few sites are to blame, so give all of them more bits",
                worst.len(),
                ranked.len(),
                percent(share)
            );
            return Some(Advice { bits, sites: Vec::new(), share, entry: None, text });
        }
        // The fewest bits at which they lose a tenth of that.
        let of_worst = |at: usize| worst.iter().filter_map(|site| site.at.get(at)).map(|at| at.alone.loss).sum::<f64>();
        let enough = (0..at).rev().find(|more| of_worst(*more) * 10.0 <= sum).and_then(|more| self.bits.get(more));
        let sites: Vec<String> = worst.iter().map(|site| site.op.clone()).collect();
        let mut kinds: Vec<QuantType> = worst.iter().map(|site| site.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let entry = match enough {
            Some(bits) => serde_json::json!({ "op_names": sites, "quant_types": kinds, "quant_bits": bits }),
            None => serde_json::json!({ "op_names": sites, "exclude": true }),
        };
        let names: Vec<String> = sites.iter().take(3).map(|name| format!("`{name}`")).collect();
        let more = if sites.len() > 3 { format!(" and {} more", sites.len() - 3) } else { String::new() };
        let (has, what) = if sites.len() == 1 { ("has", "it") } else { ("have", "them") };
        let kept = match enough {
            Some(bits) => format!("give {what} {bits} bits"),
            None => format!("keep {what} in float"),
        };
        let text = format!(
            "at {bits} bits {}{more} {has} {} of the loss of all {} sites: {kept}, with this behind the other entries of the config:",
            names.join(", "),
            percent(share),
            ranked.len(),
        );
        Some(Advice { bits, sites, share, entry: Some(entry), text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(kl: f64, mse: f64, top_1: f64) -> Loss {
        let error = Metrics { sqnr_db: Some(20.0), max_error: 0.0, cosine: 1.0, mse };
        Loss::new(RankedBy::Kl, vec![OutputLoss { kl: Some(kl), error, top_1: Some(top_1), accuracy: None }])
    }

    /// Sites with a KL at 8 and at 4 bits.
    fn found(whole: [f64; 2], sites: &[(&str, f64, f64)]) -> Sensitivity {
        let at = |bits, kl| AtBits { bits, rank: 0, alone: loss(kl, 1.0, 0.5), all_but: None, weight_sqnr_db: None };
        let site = |(op, eight, four): &(&str, f64, f64)| SiteSensitivity {
            op: (*op).to_owned(),
            op_type: "Conv2D".to_owned(),
            kind: QuantType::Weight,
            tensor: format!("{op}/w"),
            shape: None,
            at: vec![at(8, *eight), at(4, *four)],
        };
        let whole = [8, 4].into_iter().zip(whole).map(|(bits, top_1)| Whole { bits, loss: loss(0.1, 1.0, top_1) });
        let output = Output {
            name: "logits:0".to_owned(),
            scores: Some(Scores::Logits),
            known_by: "its numbers".to_owned(),
            accuracy: None,
        };
        let found = Sensitivity {
            version: SENSITIVITY_VERSION,
            framework: "none".to_owned(),
            quantizer: Quantizer::Naive,
            samples: 10,
            bits: vec![8, 4],
            ranked_by: RankedBy::Kl,
            outputs: vec![output],
            whole: whole.collect(),
            sites: sites.iter().map(site).collect(),
            advice: None,
            warnings: Vec::new(),
        };
        found.ranked()
    }

    #[test]
    fn the_worst_stands_first_and_has_a_rank_at_each_number_of_bits() {
        let found = found([1.0, 1.0], &[("a", 0.3, 0.1), ("b", 0.2, 0.9), ("c", 0.1, 0.5)]);
        let ranks: Vec<_> =
            found.sites.iter().map(|site| (site.op.as_str(), site.at[0].rank, site.at[1].rank)).collect();
        assert_eq!(ranks, [("b", 2, 1), ("c", 3, 2), ("a", 1, 3)]);
        assert_eq!(found.advice, None, "no first class is another");
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Sensitivity>(&text).unwrap(), found);
    }

    #[test]
    fn ties_go_to_the_larger_error_then_to_the_order_of_the_model() {
        let mut found = found([1.0, 1.0], &[("a", 0.1, 0.1), ("b", 0.1, 0.1), ("c", 0.1, 0.1)]);
        found.sites[2].at[1].alone = loss(0.1, 2.0, 0.5);
        let order: Vec<_> = found.ranked().sites.into_iter().map(|site| site.op).collect();
        assert_eq!(order, ["c", "a", "b"]);
    }

    #[test]
    fn advice_names_the_few_that_have_most_of_the_loss_and_what_helps() {
        let sites = [("a", 0.001, 0.9), ("b", 0.001, 0.05), ("c", 0.001, 0.05), ("d", 0.001, 0.0)];
        let advice = found([1.0, 0.8], &sites).advice.unwrap();
        assert_eq!((advice.bits, advice.sites.as_slice()), (4, &["a".to_owned()][..]));
        approx::assert_relative_eq!(advice.share, 0.9, max_relative = 1e-14);
        let entry = serde_json::json!({ "op_names": ["a"], "quant_types": ["weight"], "quant_bits": 8 });
        assert_eq!(advice.entry, Some(entry));
        assert!(advice.text.contains("90 %") && advice.text.contains("give it 8 bits"), "{}", advice.text);

        // With 8 bits it is no better: there is no number of bits to name, and the loss begins there.
        let sites = [("a", 0.9, 0.9), ("b", 0.05, 0.05), ("c", 0.05, 0.05), ("d", 0.0, 0.0)];
        let advice = found([0.9, 0.8], &sites).advice.unwrap();
        assert_eq!((advice.bits, advice.entry), (8, Some(serde_json::json!({ "op_names": ["a"], "exclude": true }))));
    }

    #[test]
    fn a_loss_that_all_share_is_nobodys() {
        let sites: Vec<(String, f64)> = (0..20).map(|i| (format!("s{i}"), 0.1)).collect();
        let sites: Vec<(&str, f64, f64)> = sites.iter().map(|(name, kl)| (name.as_str(), 0.0, *kl)).collect();
        let advice = found([1.0, 0.5], &sites).advice.unwrap();
        assert_eq!((advice.sites.len(), advice.entry), (0, None));
        assert!(advice.text.contains("the 11 worst of 20 sites"), "{}", advice.text);
        assert_eq!(found([1.0, 0.5], &[("a", 0.0, 0.0)]).advice, None, "nothing is lost by a site alone");
    }
}
