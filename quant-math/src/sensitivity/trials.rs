//! The models that are tried beside the float model, batch by batch, and what they come to.

use super::port::{Compared, Port};
use super::{AtBits, Loss, RankedBy, SENSITIVITY_VERSION, Sensitivity, SiteSensitivity, Whole};
use crate::Quantizer;
use crate::codes;
use crate::evaluation::{EvaluationError, Samples, Tensor};
use crate::metrics::Metrics;
use crate::plan::{Decision, Emit, Plan, Reason, Settings, Site};

/// Which sites of a model are quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantized {
    /// All of them.
    All,
    /// All but this one.
    AllBut(usize),
    /// This one.
    Alone(usize),
}

impl Quantized {
    /// Whether the site at this position is.
    pub fn has(self, site: usize) -> bool {
        match self {
            Self::All => true,
            Self::AllBut(own) => site != own,
            Self::Alone(own) => site == own,
        }
    }
}

/// A model that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// The position of its number of bits.
    pub step: usize,
    /// Which of its sites are quantized.
    pub quantized: Quantized,
}

/// All models that are tried: at each number of bits one with every site quantized, those with each site alone, and where that is asked for those
/// with all but one.
///
/// For each batch an adapter runs the float model and then [`Trials::each`]; what they give is added up here, so that memory does not depend on
/// the number of samples.
#[derive(Debug, Clone)]
pub struct Trials {
    quantizer: Quantizer,
    bits: Vec<u32>,
    sites: Vec<Site>,
    all_but: bool,
    ports: Vec<Port>,
    /// By the numbers of the trials: each output. Empty before [`Trials::set_outputs`].
    sums: Vec<Vec<Compared>>,
    /// By step and site: how far the weight itself is off.
    errors: Vec<Vec<Option<Metrics>>>,
    samples: u64,
    labelled: bool,
}

impl Trials {
    /// Nothing was run yet. `bits` are the numbers of bits, most first; see [`numbers_of_bits`].
    pub fn new(quantizer: Quantizer, bits: Vec<u32>, sites: Vec<Site>, all_but: bool) -> Self {
        let errors = vec![vec![None; sites.len()]; bits.len()];
        Self {
            quantizer,
            bits,
            sites,
            all_but,
            ports: Vec::new(),
            sums: Vec::new(),
            errors,
            samples: 0,
            labelled: false,
        }
    }

    /// The sites, by their positions.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// The numbers of bits, most first.
    pub fn bits(&self) -> &[u32] {
        &self.bits
    }

    /// The outputs that are compared, in their order.
    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// Say which outputs are compared, before anything is added.
    pub fn set_outputs(&mut self, ports: Vec<Port>) {
        self.sums = self.each().iter().map(|_| ports.iter().map(Compared::new).collect()).collect();
        self.ports = ports;
    }

    /// How far the weight of a site itself is from the float one.
    pub fn set_weight_error(&mut self, step: usize, site: usize, error: Metrics) {
        if let Some(slot) = self.errors.get_mut(step).and_then(|errors| errors.get_mut(site)) {
            *slot = Some(error);
        }
    }

    /// The models in the order in which they are run after the float model: step by step, and in each those first that have most sites quantized.
    pub fn each(&self) -> Vec<Trial> {
        let sites = 0..self.sites.len();
        let of_step = |step: usize| {
            let all_but = sites.clone().filter(|_| self.all_but).map(Quantized::AllBut);
            let all = std::iter::once(Quantized::All).chain(all_but).chain(sites.clone().map(Quantized::Alone));
            all.map(move |quantized| Trial { step, quantized }).collect::<Vec<_>>()
        };
        (0..self.bits.len()).flat_map(of_step).collect()
    }

    /// How often each sample runs: once through the float model, and through each other.
    pub fn runs(&self) -> u64 {
        1 + self.each().len() as u64
    }

    /// What a model is called in messages.
    fn who(&self, Trial { step, quantized }: Trial) -> String {
        let bits = self.bits.get(step).copied().unwrap_or_default();
        let op = |site: usize| self.sites.get(site).map_or("", |site| &site.op);
        match quantized {
            Quantized::All => format!("the model with all weights at {bits} bits"),
            Quantized::AllBut(own) => format!("the model with all weights but that of `{}` at {bits} bits", op(own)),
            Quantized::Alone(own) => format!("the model with the weight of `{}` at {bits} bits", op(own)),
        }
    }

    /// Look at what the float model gives for the next samples, by the positions of [`Trials::ports`].
    ///
    /// # Errors
    /// NaN.
    pub fn look(&mut self, reference: &[Tensor<'_>], samples: Samples<'_>) -> Result<(), EvaluationError> {
        self.refuse_nan("the model", reference, samples)?;
        for (port, tensor) in self.ports.iter_mut().zip(reference) {
            port.look(*tensor);
        }
        self.samples = self.samples.saturating_add(samples.count);
        self.labelled |= samples.labels.is_some();
        Ok(())
    }

    /// The position of a trial in [`Trials::each`].
    fn number(&self, Trial { step, quantized }: Trial) -> Option<usize> {
        let sites = self.sites.len();
        let others = if self.all_but { sites } else { 0 };
        let own = match quantized {
            Quantized::All => 0,
            Quantized::AllBut(own) => (own < others).then_some(1 + own)?,
            Quantized::Alone(own) => (own < sites).then_some(1 + others + own)?,
        };
        Some(step * (1 + others + sites) + own)
    }

    /// Add what a model gives for the samples that were looked at.
    ///
    /// # Errors
    /// NaN; outputs of another shape than the float model's; a label that is no class; numbers that are no scores.
    pub fn add(
        &mut self,
        trial: Trial,
        reference: &[Tensor<'_>],
        own: &[Tensor<'_>],
        samples: Samples<'_>,
    ) -> Result<(), EvaluationError> {
        self.refuse_nan(&self.who(trial), own, samples)?;
        let number = self.number(trial);
        let sums = number.and_then(|number| self.sums.get_mut(number)).map(Vec::as_mut_slice).unwrap_or_default();
        let mut each = sums.iter_mut().zip(&self.ports).zip(reference.iter().zip(own));
        each.try_for_each(|((sums, port), (reference, own))| sums.add(port, *reference, *own, samples))
    }

    fn refuse_nan(&self, who: &str, tensors: &[Tensor<'_>], samples: Samples<'_>) -> Result<(), EvaluationError> {
        for (port, tensor) in self.ports.iter().zip(tensors) {
            if let Some(at) = tensor.values.iter().position(|x| x.is_nan()) {
                let numbers: Vec<u64> = (samples.first..samples.first.saturating_add(samples.count)).collect();
                return Err(EvaluationError::nan(who, port.name(), tensor.shape, at, &numbers));
            }
        }
        Ok(())
    }

    /// A model of another mix of bits, of which nothing was added yet.
    pub fn mixture(&self) -> Mixture {
        Mixture { sums: self.ports.iter().map(Compared::new).collect(), samples: 0 }
    }

    /// Add what a mixture gives for samples that the float model was run on; `who` is what it is called in messages.
    ///
    /// # Errors
    /// Those of [`Trials::add`].
    pub fn add_to(
        &self,
        mixture: &mut Mixture,
        who: &str,
        (reference, own): (&[Tensor<'_>], &[Tensor<'_>]),
        samples: Samples<'_>,
    ) -> Result<(), EvaluationError> {
        self.refuse_nan(who, own, samples)?;
        let mut each = mixture.sums.iter_mut().zip(&self.ports).zip(reference.iter().zip(own));
        each.try_for_each(|((sums, port), (reference, own))| sums.add(port, *reference, *own, samples))?;
        mixture.samples = mixture.samples.saturating_add(samples.count);
        Ok(())
    }

    /// How far a mixture is from the float model.
    pub fn loss_of(&self, mixture: &Mixture) -> Loss {
        self.loss(&mixture.sums)
    }

    /// Whether any output is scores of classes, as far as the samples so far show.
    pub fn has_scores(&self) -> bool {
        self.ports.iter().any(|port| port.scores().is_some())
    }

    fn ranked_by(&self) -> RankedBy {
        if self.has_scores() { RankedBy::Kl } else { RankedBy::Noise }
    }

    fn loss(&self, sums: &[Compared]) -> Loss {
        Loss::new(self.ranked_by(), sums.iter().zip(&self.ports).map(|(sums, port)| sums.loss(port)).collect())
    }

    /// Samples that were looked at.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Everything that was added, in numbers. `None`: there are labels, and no output is one score per class
    /// ([`NO_SCORES`](crate::evaluation::NO_SCORES)).
    pub fn finish(&self, framework: String, warnings: Vec<Reason>) -> Option<Sensitivity> {
        self.measured(framework, warnings).map(Sensitivity::ranked)
    }

    /// The same with the sites in the model's order, without ranks and what follows from them.
    pub fn measured(&self, framework: String, warnings: Vec<Reason>) -> Option<Sensitivity> {
        let first = self.sums.first().into_iter().flatten().zip(&self.ports);
        let outputs: Vec<_> = first.map(|(compared, port)| compared.output(port)).collect();
        if self.labelled && outputs.iter().all(|output| output.accuracy.is_none()) {
            return None;
        }
        let loss = |step: usize, quantized: Quantized| {
            let number = self.number(Trial { step, quantized })?;
            Some(self.loss(self.sums.get(number)?))
        };
        let at = |own: usize, (step, bits): (usize, &u32)| {
            let error = self.errors.get(step).and_then(|errors| errors.get(own)).copied().flatten();
            Some(AtBits {
                bits: *bits,
                rank: 0,
                alone: loss(step, Quantized::Alone(own))?,
                all_but: loss(step, Quantized::AllBut(own)),
                weight_sqnr_db: error.and_then(|error| error.sqnr_db),
            })
        };
        let site = |(own, site): (usize, &Site)| {
            let Site { op, op_type, kind, tensor, shape, .. } = site.clone();
            let at = self.bits.iter().enumerate().filter_map(|step| at(own, step)).collect();
            SiteSensitivity { op, op_type, kind, tensor, shape, at }
        };
        let whole = |(step, bits): (usize, &u32)| Some(Whole { bits: *bits, loss: loss(step, Quantized::All)? });
        Some(Sensitivity {
            version: SENSITIVITY_VERSION,
            framework,
            quantizer: self.quantizer,
            samples: self.samples,
            bits: self.bits.clone(),
            ranked_by: self.ranked_by(),
            outputs,
            whole: self.bits.iter().enumerate().filter_map(whole).collect(),
            sites: self.sites.iter().enumerate().map(site).collect(),
            advice: None,
            warnings,
        })
    }
}

/// A model in which each weight has bits of its own, beside the float one, summed over the samples.
#[derive(Debug, Clone)]
pub struct Mixture {
    sums: Vec<Compared>,
    samples: u64,
}

impl Mixture {
    /// Samples that were added.
    pub fn samples(&self) -> u64 {
        self.samples
    }
}

/// The numbers of bits that are tried, most first, each once.
///
/// # Errors
/// What is wrong with a number of bits that the quantizer does not have.
pub fn numbers_of_bits(quantizer: Quantizer, asked: &[u32]) -> Result<Vec<u32>, String> {
    let known = quantizer.row().bits;
    if let Some(wrong) = asked.iter().find(|bits| !known.contains(**bits)) {
        return Err(format!("{wrong} bits is out of range for {quantizer}, expected {}", known.words));
    }
    let mut bits = asked.to_vec();
    bits.sort_unstable();
    bits.dedup();
    bits.reverse();
    Ok(bits)
}

/// The plan whose weights have the codes of `baked` at so many bits.
#[must_use]
pub fn plan_at(plan: &Plan, bits: u32) -> Plan {
    let mut plan = Plan { emit: Emit::Baked, ..plan.clone() };
    for site in &mut plan.sites {
        if let Decision::Quantize(settings) = &mut site.decision {
            *settings = Settings { bits, ..*settings };
        }
    }
    plan
}

/// That activations which the config names stay in float, where it names some.
pub fn activations_not_tried(plan: &Plan) -> Option<Reason> {
    let activations = plan.skipped().filter(|(_, reason)| reason.is(codes::WEIGHTS_ONLY)).count();
    let text =
        || format!("weights alone are tried: {activations} inputs and outputs that the config names stay in float");
    (activations > 0).then(|| Reason::new(codes::NOT_TRIED, text()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QuantType;
    use crate::divergence::Scores;

    fn trials(all_but: bool) -> Trials {
        let site = |op: &str| Site {
            op: op.to_owned(),
            op_type: "Linear".to_owned(),
            kind: QuantType::Weight,
            tensor: format!("{op}.weight"),
            dtype: None,
            shape: None,
            decision: Decision::Quantize(Settings::new(Quantizer::Naive, 8)),
            range: None,
            steps: None,
        };
        let mut trials = Trials::new(Quantizer::Naive, vec![8, 4], ["a", "b", "c"].map(site).into(), all_but);
        trials.set_outputs(vec![Port::new("y", None)]);
        trials
    }

    fn tensor(values: &[f32]) -> Tensor<'_> {
        Tensor { shape: &[1, 2], values, is_float: true }
    }

    fn one(labels: Option<&[i64]>) -> Samples<'_> {
        Samples { first: 7, count: 1, labels }
    }

    #[test]
    fn every_model_has_its_place() {
        for all_but in [false, true] {
            let trials = trials(all_but);
            let numbers: Vec<_> = trials.each().into_iter().map(|trial| trials.number(trial)).collect();
            assert_eq!(numbers, (0..numbers.len()).map(Some).collect::<Vec<_>>());
            assert_eq!(trials.runs(), if all_but { 15 } else { 9 });
        }
        assert_eq!(trials(false).number(Trial { step: 0, quantized: Quantized::AllBut(0) }), None);
        let quantized = [Quantized::All, Quantized::AllBut(1), Quantized::Alone(1)];
        assert_eq!(
            quantized.map(|which| [0, 1].map(|site| which.has(site))),
            [[true, true], [true, false], [false, true]]
        );
    }

    #[test]
    fn what_each_gives_is_found_where_it_belongs() {
        let mut trials = trials(true);
        let reference = [tensor(&[1.0, 2.0])];
        trials.look(&reference, one(Some(&[1]))).unwrap();
        for (number, trial) in trials.each().into_iter().enumerate() {
            let own = [1.0, 2.0 + f32::from(u8::try_from(number).unwrap())];
            trials.add(trial, &reference, &[tensor(&own)], one(Some(&[1]))).unwrap();
        }
        let found = trials.finish("none".to_owned(), Vec::new()).unwrap();
        assert_eq!(found.outputs[0].scores, Some(Scores::Logits));
        assert_eq!((found.samples, found.outputs[0].accuracy), (1, Some(1.0)));
        let most = |loss: &Loss| loss.outputs[0].error.max_error.to_bits();
        assert_eq!(found.whole.iter().map(|whole| most(&whole.loss)).collect::<Vec<_>>(), [0.0, 7.0].map(f64::to_bits));
        let c = found.sites.iter().find(|site| site.op == "c").unwrap();
        let of_c: Vec<_> = c.at.iter().map(|at| (most(at.all_but.as_ref().unwrap()), most(&at.alone))).collect();
        assert_eq!(of_c, [(3.0, 6.0), (10.0, 13.0)].map(|(a, b): (f64, f64)| (a.to_bits(), b.to_bits())));
    }

    #[test]
    fn what_cannot_be_counted_names_the_model() {
        let mut trials = trials(false);
        let (good, nan) = ([tensor(&[1.0, 2.0])], [tensor(&[1.0, f32::NAN])]);
        let said = trials.look(&nan, one(None)).unwrap_err().to_string();
        assert_eq!(said, "the model gives NaN in `y` for sample 7, whose data is finite");
        let alone = Trial { step: 1, quantized: Quantized::Alone(2) };
        let said = trials.add(alone, &good, &nan, one(None)).unwrap_err().to_string();
        assert!(said.starts_with("the model with the weight of `c` at 4 bits gives NaN in `y` for sample 7"), "{said}");
        let scalar = Tensor { shape: &[], values: &[1.0], is_float: true };
        trials.set_outputs(vec![Port::new("y", None)]);
        trials.look(&[scalar], one(Some(&[0]))).unwrap();
        assert!(trials.finish("none".to_owned(), Vec::new()).is_none(), "labels without scores");
    }

    #[test]
    fn bits_are_those_of_the_quantizer() {
        assert_eq!(numbers_of_bits(Quantizer::Naive, &[3, 8, 3]), Ok(vec![8, 3]));
        let said = numbers_of_bits(Quantizer::Naive, &[4, 17]).unwrap_err();
        assert_eq!(said, "17 bits is out of range for naive, expected 2 to 16");
    }
}
