//! The classes and functions that `training` and the other forms put into an archive: their names, and what their objects have. What they
//! do stands in `rewrite/edit/library`.

/// What the qualified names of the classes begin with.
pub(crate) const MODULE: &str = "__torch__.torch_adapter";
/// The library's function that puts the values of its second argument in the place of its first.
pub(crate) const COPY: &str = "__torch__.torch_adapter.quantized";
/// The library's functions that separate codes of which two or four share a byte: of bytes, sizes and strides.
pub(crate) const HALVES: &str = "__torch__.torch_adapter.halves";
pub(crate) const QUARTERS: &str = "__torch__.torch_adapter.quarters";

/// A class of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// QAT, weights, zero point 0, one scale.
    WeightSymmetric,
    /// QAT, weights, zero point 0, one scale per channel.
    WeightSymmetricPerChannel,
    /// QAT, weights, one scale and zero point.
    WeightAffine,
    /// QAT, weights, scale and zero point per channel.
    WeightAffinePerChannel,
    /// QAT, activations, scale and zero point.
    RangeAffine,
    /// QAT, activations, zero point 0.
    RangeSymmetric,
    /// DoReFa, weights, 2 to 8 bits.
    DoReFaWeight,
    /// DoReFa, weights, 1 bit.
    DoReFaSign,
    /// DoReFa, activations.
    DoReFaActivation,
    /// LSQ, weights, one step.
    LsqWeight,
    /// LSQ, weights, one step per channel.
    LsqWeightPerChannel,
    /// LSQ, activations.
    LsqActivation,
    /// Calibration: the smallest and the largest value.
    ObserveMinMax,
    /// Calibration: a moving average of both.
    ObserveEma,
    /// Calibration: counts of values.
    ObserveHistogram,
}

impl Class {
    /// All of them.
    pub(crate) const ALL: [Self; 15] = [
        Self::WeightSymmetric,
        Self::WeightSymmetricPerChannel,
        Self::WeightAffine,
        Self::WeightAffinePerChannel,
        Self::RangeAffine,
        Self::RangeSymmetric,
        Self::DoReFaWeight,
        Self::DoReFaSign,
        Self::DoReFaActivation,
        Self::LsqWeight,
        Self::LsqWeightPerChannel,
        Self::LsqActivation,
        Self::ObserveMinMax,
        Self::ObserveEma,
        Self::ObserveHistogram,
    ];

    /// The last part of the name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WeightSymmetric => "WeightSymmetric",
            Self::WeightSymmetricPerChannel => "WeightSymmetricPerChannel",
            Self::WeightAffine => "WeightAffine",
            Self::WeightAffinePerChannel => "WeightAffinePerChannel",
            Self::RangeAffine => "RangeAffine",
            Self::RangeSymmetric => "RangeSymmetric",
            Self::DoReFaWeight => "DoReFaWeight",
            Self::DoReFaSign => "DoReFaSign",
            Self::DoReFaActivation => "DoReFaActivation",
            Self::LsqWeight => "LsqWeight",
            Self::LsqWeightPerChannel => "LsqWeightPerChannel",
            Self::LsqActivation => "LsqActivation",
            Self::ObserveMinMax => "ObserveMinMax",
            Self::ObserveEma => "ObserveEma",
            Self::ObserveHistogram => "ObserveHistogram",
        }
    }

    /// The qualified name.
    pub(crate) fn qualified(self) -> String {
        format!("{MODULE}.{}", self.name())
    }

    /// The class of a qualified name from which `___torch_mangle_N` was taken out.
    pub(crate) fn of(qualified: &str) -> Option<Self> {
        let name = qualified.strip_prefix(MODULE)?.strip_prefix('.')?;
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// The function that its `forward` calls.
    pub(crate) fn calls(self) -> Option<Function> {
        match self {
            Self::DoReFaWeight => Some(Function::Weight),
            Self::DoReFaSign => Some(Function::Sign),
            Self::DoReFaActivation => Some(Function::Activation),
            Self::WeightSymmetricPerChannel | Self::WeightAffinePerChannel => Some(Function::LeastWidth),
            _ => None,
        }
    }

    /// Whether it counts passes.
    pub(crate) fn counts(self) -> bool {
        self.buffers().contains(&"step")
    }

    /// Whether its `forward` gets what is added to the channels of what it quantizes.
    pub(crate) fn takes_bias(self) -> bool {
        self.calls() == Some(Function::LeastWidth)
    }

    /// Whether it only looks, for calibration.
    pub(crate) fn observes(self) -> bool {
        matches!(self, Self::ObserveMinMax | Self::ObserveEma | Self::ObserveHistogram)
    }

    /// Whether it is one of LSQ, whose step is trained.
    pub(crate) fn learns(self) -> bool {
        !self.parameters().is_empty()
    }

    /// The names of its buffers.
    pub(crate) fn buffers(self) -> &'static [&'static str] {
        match self {
            Self::WeightSymmetric
            | Self::WeightSymmetricPerChannel
            | Self::WeightAffine
            | Self::WeightAffinePerChannel => &["step"],
            Self::RangeAffine | Self::RangeSymmetric => &["min", "max", "step"],
            Self::DoReFaWeight
            | Self::DoReFaSign
            | Self::DoReFaActivation
            | Self::LsqWeight
            | Self::LsqWeightPerChannel
            | Self::LsqActivation => &[],
            Self::ObserveMinMax => &["min", "max", "batches"],
            Self::ObserveEma => &["first_min", "first_max", "min", "max", "batches"],
            Self::ObserveHistogram => &["min", "max", "batches", "exponent", "counts"],
        }
    }

    /// The names of what training changes besides.
    pub(crate) fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::LsqWeight | Self::LsqWeightPerChannel | Self::LsqActivation => &["step"],
            _ => &[],
        }
    }

    /// Names and types of its settings.
    pub(crate) fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::WeightSymmetric => &[("start", "int"), ("quant_min", "int"), ("quant_max", "int")],
            Self::WeightSymmetricPerChannel => {
                &[("start", "int"), ("quant_min", "int"), ("quant_max", "int"), ("axis", "int")]
            }
            Self::WeightAffine => &[("start", "int"), ("quant_max", "int")],
            Self::WeightAffinePerChannel => &[("start", "int"), ("quant_max", "int"), ("axis", "int")],
            Self::RangeAffine => &[("start", "int"), ("quant_max", "int"), ("rate", "float"), ("widest", "bool")],
            Self::RangeSymmetric => {
                &[("start", "int"), ("quant_min", "int"), ("quant_max", "int"), ("rate", "float"), ("widest", "bool")]
            }
            Self::DoReFaWeight | Self::DoReFaActivation => &[("levels", "int")],
            Self::DoReFaSign | Self::ObserveMinMax => &[],
            Self::LsqWeight | Self::LsqActivation => &[("quant_min", "int"), ("quant_max", "int"), ("first", "float")],
            Self::LsqWeightPerChannel => {
                &[("quant_min", "int"), ("quant_max", "int"), ("first", "float"), ("axis", "int")]
            }
            Self::ObserveEma => &[("rate", "float")],
            Self::ObserveHistogram => &[("most", "int")],
        }
    }
}

/// A function, which has no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Function {
    /// Constants of one scale, for weights that are not float32.
    PerTensor,
    /// Constants of one scale per channel, for weights that are not float32.
    PerChannel,
    /// Values from elsewhere in the place of a weight.
    Copy,
    /// Codes that share a byte in pairs.
    Halves,
    /// Codes four of which share a byte.
    Quarters,
    /// The least widths of the ranges of channels beside their biases.
    LeastWidth,
    /// DoReFa, weights, 2 to 8 bits.
    Weight,
    /// DoReFa, weights, 1 bit.
    Sign,
    /// DoReFa, activations.
    Activation,
}

impl Function {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::PerTensor,
        Self::PerChannel,
        Self::Copy,
        Self::Halves,
        Self::Quarters,
        Self::LeastWidth,
        Self::Weight,
        Self::Sign,
        Self::Activation,
    ];

    /// The last part of the name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PerTensor => "per_tensor",
            Self::PerChannel => "per_channel",
            Self::Copy => "quantized",
            Self::Halves => "halves",
            Self::Quarters => "quarters",
            Self::LeastWidth => "least_width",
            Self::Weight => "dorefa_weight",
            Self::Sign => "dorefa_sign",
            Self::Activation => "dorefa_activation",
        }
    }

    /// The qualified name.
    pub(crate) fn qualified(self) -> String {
        match self {
            Self::Copy => COPY.to_owned(),
            Self::Halves => HALVES.to_owned(),
            Self::Quarters => QUARTERS.to_owned(),
            _ => format!("{MODULE}.{}", self.name()),
        }
    }
}

/// The class that numbers the passes of a model.
pub(crate) const PASSES: &str = "__torch__.torch_adapter.Passes";

/// The class that says of a model that observes which one it was made from, and counts samples.
pub(crate) const OBSERVED: &str = "__torch__.torch_adapter.Observed";
/// Its attribute with what it says, as JSON.
pub(crate) const SOURCE: &str = "source";
/// Its buffer with the count.
pub(crate) const SAMPLES: &str = "samples";

/// Whether a class or function, named without `___torch_mangle_N`, is one of the library.
pub(crate) fn is_quantizer(qualified: &str) -> bool {
    let functions = Function::ALL.iter().map(|function| function.qualified());
    is_class(qualified) || functions.into_iter().any(|function| function == qualified)
}

/// Whether a class, named without `___torch_mangle_N`, is one of the library.
pub(crate) fn is_class(qualified: &str) -> bool {
    qualified == PASSES || qualified == OBSERVED || Class::of(qualified).is_some()
}
