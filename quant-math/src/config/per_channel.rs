//! When a weight has one scale per channel.

/// The key `per_channel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PerChannel {
    /// `false`: one scale for the tensor, as NNI has it.
    Never,
    /// `true`: one scale per channel; an op whose channels are not known is left alone.
    Always,
    /// `"auto"`: one scale per channel where [`channels_pay`] and the channels are known, else one for the tensor.
    #[default]
    Auto,
}

impl PerChannel {
    /// Whether a weight of `elements` elements in `channels` channels has a scale for each of them.
    pub fn chooses(self, elements: u64, channels: u64) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Auto => channels_pay(elements, channels),
        }
    }
}

/// Whether parameters for each channel of a weight cost less than its codes save: the rule of `per_channel: "auto"`.
///
/// ```text
/// channels > 1  and  8 · channels ≤ 3 · elements
/// ```
///
/// A channel's parameters are at most 8 bytes in every form of output: the two ends of its range in an `inference` graph of
/// TensorFlow, scale and zero point in one of TorchScript; `packed` has a scale of 4. A code of 8 bits saves 3 of the 4 bytes of a
/// float32. So it pays from three elements a channel on: a depthwise 3x3 filter has nine, a 1x3 filter has three. A depthwise 1x1
/// filter or a product with one input feature has a single element a channel, which a scale of its own would only write down a second
/// time. One channel alone is the tensor.
///
/// The rule sees shape and op and nothing else, neither bits nor form nor container, so that all of them get the same codes. How small a
/// channel's scale may be beside a bias is another rule: [`Biases`](crate::weights::Biases).
///
/// ```
/// use quant_math::config::channels_pay;
///
/// assert!(channels_pay(3 * 3 * 32, 32), "a depthwise 3x3 filter of 32 channels");
/// assert!(channels_pay(3 * 32, 32) && !channels_pay(2 * 32, 32));
/// assert!(!channels_pay(512, 1), "one output feature");
/// ```
pub fn channels_pay(elements: u64, channels: u64) -> bool {
    /// The most that any form keeps of a channel, in bytes.
    const PARAMETERS: u64 = 8;
    /// What a code of 8 bits saves of a float32, in bytes.
    const SAVED: u64 = 3;
    channels > 1 && channels.saturating_mul(PARAMETERS) <= elements.saturating_mul(SAVED)
}
