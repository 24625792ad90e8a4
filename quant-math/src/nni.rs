//! NNI's own calls, `Quantizer(model, config_list).compress()`, over any model that an adapter can plan and apply on.
//!
//! The adapters name these types for their models: `tf_rewriter::QatQuantizer`, `torch_adapter::QatQuantizer`, ….

use crate::config::ConfigList;
use crate::fold::Fold;
use crate::plan::{Emit, Gradient, NoPlan, PlanOptions, Quantizer};
use crate::ranges::Ranges;

/// A model of an adapter.
pub trait Compress: Sized {
    /// The quantized model, ready to be written.
    type Compressed;
    /// The adapter's error.
    type Error: From<NoPlan>;

    /// Plan and apply.
    ///
    /// # Errors
    /// Those of the adapter's `plan` and `apply`.
    fn compress(self, config_list: &ConfigList, options: PlanOptions<'_>) -> Result<Self::Compressed, Self::Error>;
}

/// What all quantizers hold.
#[derive(Debug)]
struct Call<M> {
    model: M,
    config_list: ConfigList,
    emit: Option<Emit>,
    gradient: Gradient,
    fold: Fold,
    ranges: Option<Ranges>,
}

impl<M: Compress> Call<M> {
    fn new(model: M, config_list: &ConfigList, expected: Quantizer) -> Result<Self, M::Error> {
        let found = config_list.quantizer;
        if found != expected {
            return Err(NoPlan::Quantizer { found, expected }.into());
        }
        let (emit, ranges) = (None, None);
        let (gradient, fold) = (Gradient::default(), Fold::default());
        Ok(Self { model, config_list: config_list.clone(), emit, gradient, fold, ranges })
    }

    fn compress(self) -> Result<M::Compressed, M::Error> {
        let Self { emit, gradient, fold, .. } = self;
        let options = PlanOptions { emit, ranges: self.ranges.as_ref(), strict: false, gradient, fold };
        self.model.compress(&self.config_list, options)
    }
}

macro_rules! quantizer {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<M>(Call<M>);

        impl<M: Compress> $name<M> {
            /// Choose the form of the output.
            #[must_use]
            pub fn emit(mut self, emit: Emit) -> Self {
                self.0.emit = Some(emit);
                self
            }

            /// Choose which batch normalizations go into the layers before them.
            #[must_use]
            pub fn fold(mut self, fold: Fold) -> Self {
                self.0.fold = fold;
                self
            }

            /// Plan and apply.
            ///
            /// # Errors
            /// Those of the adapter's `plan` and `apply`.
            pub fn compress(self) -> Result<M::Compressed, M::Error> {
                self.0.compress()
            }
        }
    };
}

quantizer! {
    /// NNI's `NaiveQuantizer`: 8-bit symmetric weights of every default op. For NNI's own bits give it the config
    /// [`ConfigList::preset_for`] makes of [`Preset::Nni`](crate::config::Preset::Nni).
    NaiveQuantizer
}

quantizer! {
    /// NNI's `QAT_Quantizer`: weights and activations after Jacob et al. 2018.
    QatQuantizer
}

quantizer! {
    /// NNI's `DoReFaQuantizer`: weights and activations after Zhou et al. 2016.
    DoReFaQuantizer
}

quantizer! {
    /// NNI's `LsqQuantizer`: weights and activations after Esser et al. 2020.
    LsqQuantizer
}

impl<M: Compress> NaiveQuantizer<M> {
    /// Quantize with the default config; see [`NaiveQuantizer::with_config`] for another.
    pub fn new(model: impl Into<M>) -> Self {
        let config_list = ConfigList::default_for(Quantizer::Naive);
        let (emit, ranges) = (None, None);
        let (gradient, fold) = (Gradient::default(), Fold::default());
        Self(Call { model: model.into(), config_list, emit, gradient, fold, ranges })
    }

    /// Quantize what a `config_list` selects.
    ///
    /// # Errors
    /// [`NoPlan::Quantizer`] for a config of another quantizer.
    pub fn with_config(model: impl Into<M>, config_list: &ConfigList) -> Result<Self, M::Error> {
        Call::new(model.into(), config_list, Quantizer::Naive).map(Self)
    }
}

impl<M: Compress> QatQuantizer<M> {
    /// Quantize what a `config_list` selects.
    ///
    /// # Errors
    /// [`NoPlan::Quantizer`] for a config of another quantizer.
    pub fn new(model: impl Into<M>, config_list: &ConfigList) -> Result<Self, M::Error> {
        Call::new(model.into(), config_list, Quantizer::Qat).map(Self)
    }

    /// TensorFlow, `training`: choose how gradients pass the rounding.
    #[must_use]
    pub fn gradient(mut self, gradient: Gradient) -> Self {
        self.0.gradient = gradient;
        self
    }

    /// Measured activation ranges, which `inference` needs for inputs and outputs.
    #[must_use]
    pub fn ranges(mut self, ranges: Ranges) -> Self {
        self.0.ranges = Some(ranges);
        self
    }
}

impl<M: Compress> DoReFaQuantizer<M> {
    /// Quantize what a `config_list` selects.
    ///
    /// # Errors
    /// [`NoPlan::Quantizer`] for a config of another quantizer.
    pub fn new(model: impl Into<M>, config_list: &ConfigList) -> Result<Self, M::Error> {
        Call::new(model.into(), config_list, Quantizer::DoReFa).map(Self)
    }
}

impl<M: Compress> LsqQuantizer<M> {
    /// Quantize what a `config_list` selects.
    ///
    /// # Errors
    /// [`NoPlan::Quantizer`] for a config of another quantizer.
    pub fn new(model: impl Into<M>, config_list: &ConfigList) -> Result<Self, M::Error> {
        Call::new(model.into(), config_list, Quantizer::Lsq).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model that tells what it was asked for.
    #[derive(Debug)]
    struct Told;

    impl Compress for Told {
        type Compressed = (Quantizer, Emit, bool);
        type Error = NoPlan;

        fn compress(self, config: &ConfigList, options: PlanOptions<'_>) -> Result<Self::Compressed, NoPlan> {
            Ok((config.quantizer, options.emit_for(config), options.ranges.is_some()))
        }
    }

    #[test]
    fn a_call_is_a_plan_with_its_config_and_form() {
        assert_eq!(NaiveQuantizer::<Told>::new(Told).compress(), Ok((Quantizer::Naive, Emit::Baked, false)));
        let dorefa = ConfigList::default_for(Quantizer::DoReFa);
        let call = DoReFaQuantizer::<Told>::new(Told, &dorefa).unwrap().emit(Emit::Packed);
        assert_eq!(call.compress(), Ok((Quantizer::DoReFa, Emit::Packed, false)));
        let lsq = ConfigList::default_for(Quantizer::Lsq);
        let call = LsqQuantizer::<Told>::new(Told, &lsq).unwrap();
        assert_eq!(call.compress(), Ok((Quantizer::Lsq, Emit::Training, false)));
    }

    #[test]
    fn a_config_of_another_quantizer_is_refused() {
        let error = QatQuantizer::<Told>::new(Told, &ConfigList::default_for(Quantizer::DoReFa)).unwrap_err();
        assert_eq!(error, NoPlan::Quantizer { found: Quantizer::DoReFa, expected: Quantizer::Qat });
        assert_eq!(error.to_string(), "the config_list is for dorefa, expected qat");
    }
}
