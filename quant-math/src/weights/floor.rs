//! The least range of a channel beside its bias.

use crate::plan::Settings;
use crate::quantizers::table::StepSource;
use crate::weights::{ChannelLayout, observe_ranges};
use crate::{MathError, Range, WeightData};

/// The least scale of a channel, as a part of the absolute value of its bias: 2^−16.
pub const LEAST_OF_BIAS: f32 = 1.0 / 65536.0;

/// How much of the largest scale of the tensor's channels that part may be at most: 2^−8.
pub const LEAST_OF_LARGEST: f32 = 1.0 / 256.0;

/// What integer kernels have as codes of weights has at most so many bits.
const MOST_BITS: u32 = 8;

/// Whether the channels of a weight that is quantized so have a least range where they have a bias: there is a scale for each of them, and
/// codes have at most 8 bits, beyond which there is no integer kernel. DoReFa has one scale.
pub fn has_floor(settings: &Settings) -> bool {
    settings.channel_axis.is_some() && settings.quantizer.row().steps == StepSource::Range && settings.bits <= MOST_BITS
}

/// What the absolute value of a bias is multiplied with, to be the least width of its channel's range: the largest absolute value for symmetric
/// settings, else the distance of the ends.
pub fn least_width_of_bias(settings: &Settings) -> f32 {
    LEAST_OF_BIAS * settings.highest_code()
}

/// The absolute values of what is added to each channel of what a weight makes.
///
/// Integer kernels add the bias to sums of products of codes: it is stored as an int32 that counts steps of `scale_in · scale_w`. A channel
/// whose weights are all but 0 has a scale so small that its bias has no int32, and TFLite's converter (2.21) then takes the nearest there is,
/// without a word; for a channel of zeros, which may have any scale, it takes one of 4·10^−9. So a channel with a bias has a least scale, and
/// with it a least range:
///
/// ```text
/// scale ≥ min(|bias| · 2^−16, largest scale of the channels · 2^−8)
/// ```
///
/// where weights of zeros alone have no largest scale. It follows from weight and bias alone, not from the range of the input, which is not
/// known in every form of output, so that all of them have the same codes.
///
/// * The first part is the promise: `|bias| / (scale_in · scale_w) ≤ 2^30` for every step of the input from 2^−14 on, that is for inputs of 8
///   bits whose range is at least 0.016 wide. What it changes in a sum is at most `|bias| · 2^−17 · Σ|x|`.
/// * The second part bounds that where inputs are large and weights small for it: no weight moves by more than a 256th of what weights of the
///   largest channel may move by. The promise then holds for biases up to `scale_in · largest scale · 2^22`.
/// * Without a bias there is nothing to promise, and small channels, which a batch normalization may enlarge later, keep their own scale.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Biases(Vec<f32>);

impl Biases {
    /// None at all, of so many channels.
    pub fn none(channels: usize) -> Self {
        Self(vec![0.0; channels])
    }

    /// Whether no channel has a least range.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|bias| *bias <= 0.0)
    }

    /// Another vector that is added: a value for each output, which are the channels over and over (more than once where groups share a
    /// weight's channel), or one for all of them. A tensor of another length is no bias and changes nothing. The largest counts.
    pub fn add<D: WeightData + ?Sized>(&mut self, data: &D) {
        let (channels, len) = (self.0.len(), data.len());
        if len == 0 || channels == 0 || (len != 1 && len % channels != 0) {
            return;
        }
        let values = data.chunk(0..len);
        for (channel, own) in self.0.iter_mut().enumerate() {
            let added = values.iter().skip(channel % len).step_by(channels).filter(|value| value.is_finite());
            *own = added.fold(*own, |largest, value| largest.max(value.abs()));
        }
    }

    /// Widen the ranges of channels that are below their least. Upwards, so that 0 stays inside.
    pub fn widen(&self, settings: &Settings, ranges: &mut [Range]) {
        if !has_floor(settings) || self.is_empty() {
            return;
        }
        let width = |range: Range| {
            let Range { min, max } = range.with_zero();
            if settings.symmetric { (-min).max(max) } else { max - min }
        };
        let largest = ranges.iter().map(|range| width(*range)).fold(0.0_f32, f32::max);
        let limit = if largest > 0.0 { largest * LEAST_OF_LARGEST } else { f32::MAX };
        let of_bias = least_width_of_bias(settings);
        for (range, bias) in ranges.iter_mut().zip(&self.0) {
            let least = (bias * of_bias).min(limit);
            let Range { min, max } = range.with_zero();
            let (size, end) = if settings.symmetric { ((-min).max(max), least) } else { (max, min + least) };
            if size < end {
                *range = Range { min, max: end };
            }
        }
    }
}

/// The range of each channel of a weight, none of them below its least: [`observe_ranges`], and what [`Biases`] asks.
///
/// # Errors
///
/// Those of [`observe_ranges`].
pub fn weight_ranges<D: WeightData + ?Sized>(
    settings: &Settings,
    layout: ChannelLayout,
    biases: &Biases,
    data: &D,
) -> Result<Vec<Range>, MathError> {
    let mut ranges = observe_ranges(layout, data)?;
    biases.widen(settings, &mut ranges);
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quantizer;
    use crate::weights::{WeightMap, observe_beside};

    const CHANNELS: usize = 6;

    fn settings(quantizer: Quantizer, bits: u32, symmetric: bool) -> Settings {
        Settings { channel_axis: Some(1), symmetric, ..Settings::new(quantizer, bits) }
    }

    fn biases(values: &[f32]) -> Biases {
        let mut biases = Biases::none(CHANNELS);
        biases.add(values);
        biases
    }

    /// Rows of one element per channel, each `sizes` times a number from −1 to 0.75.
    fn weights(sizes: [f32; CHANNELS]) -> (ChannelLayout, Vec<f32>) {
        let rows = [-1.0_f32, 0.5, -0.25, 0.75];
        let data = rows.iter().flat_map(|row| sizes.map(|size| row * size)).collect();
        (ChannelLayout { outer: rows.len(), channels: CHANNELS, inner: 1 }, data)
    }

    fn scales(map: &WeightMap) -> Vec<f32> {
        let WeightMap::Affine(map) = map else { panic!("{map:?}") };
        map.scale()
    }

    const SIZES: [f32; CHANNELS] = [1.0, 0.0, 1e-20, 1e-7, 1e-3, 1e-2];
    const BIASES: [f32; CHANNELS] = [-2.0, 0.5, -1.0, 0.0, 3.0, 0.01];

    #[test]
    fn no_scale_is_below_its_least_and_no_other_changes() {
        let (layout, data) = weights(SIZES);
        for quantizer in [Quantizer::Naive, Quantizer::Qat] {
            for (bits, symmetric) in [(8, true), (8, false), (4, true), (2, false)] {
                let settings = settings(quantizer, bits, symmetric);
                let own = scales(&observe_beside(&settings, layout, &Biases::default(), &data[..]).unwrap());
                let map = observe_beside(&settings, layout, &biases(&BIASES), &data[..]).unwrap();
                let found = scales(&map);
                let largest =
                    own.iter().zip(SIZES).filter(|(_, size)| *size > 0.0).fold(0.0_f32, |most, (s, _)| most.max(*s));
                let mut raised = Vec::new();
                for (channel, (own, found)) in own.iter().zip(&found).enumerate() {
                    let least = (BIASES[channel].abs() / 65536.0).min(largest / 256.0);
                    // Two roundings in float32 on either way.
                    assert!(
                        *found >= least * (1.0 - 2.0 * f32::EPSILON),
                        "{settings:?} {channel}: {found}, least {least}"
                    );
                    if found.to_bits() != own.to_bits() {
                        assert!(
                            *found <= least * (1.0 + 2.0 * f32::EPSILON),
                            "{settings:?} {channel}: {found}, least {least}"
                        );
                        raised.push(channel);
                    }
                }
                // A channel of zeros gets a scale that fits its bias, one without a bias keeps its own, and so does one that is large enough.
                assert_eq!(raised.iter().filter(|channel| [0, 3, 5].contains(channel)).count(), 0, "{settings:?}");
                assert!(raised.starts_with(&[1, 2]), "{settings:?}: {raised:?}");
                let mut values = vec![f32::NAN; data.len()];
                map.values_into(0, &data, &mut values);
                assert!(values.iter().skip(1).step_by(CHANNELS).all(|value| value.to_bits() == 0), "zeros stay zeros");
                assert_eq!(map.scale_span().map(|(least, _)| least.is_normal()), Some(true));
            }
        }
    }

    #[test]
    fn biases_have_integers() {
        // Inputs of 8 bits, from [0, 0.016] on.
        for step in [2.0_f32.powi(-14), 1.0 / 255.0, 6.0 / 255.0, 100.0 / 255.0] {
            let (layout, data) = weights(SIZES);
            let settings = settings(Quantizer::Qat, 8, true);
            let map = observe_beside(&settings, layout, &biases(&BIASES), &data[..]).unwrap();
            let scales = scales(&map);
            // Within what the second part leaves: the bias is at most 2^22 steps of the input times the largest scale.
            let within = |bias: f32| bias <= step * scales[0] * 4_194_304.0;
            for (scale, bias) in scales.iter().zip(BIASES.map(f32::abs)).filter(|(_, bias)| within(*bias)) {
                // One rounding in the scale.
                assert!(
                    f64::from(bias) / (f64::from(step) * f64::from(*scale)) <= 1_073_741_824.0 * 1.000_000_2,
                    "{step} {scale} {bias}"
                );
            }
        }
    }

    #[test]
    fn weights_of_zeros_alone_have_the_scale_of_their_biases() {
        let (layout, data) = weights([0.0; CHANNELS]);
        let map = observe_beside(&settings(Quantizer::Naive, 8, true), layout, &biases(&BIASES), &data[..]).unwrap();
        let expected = BIASES.map(|bias| if bias == 0.0 { 1.0 } else { bias.abs() * (127.0 / 65536.0) / 127.0 });
        assert_eq!(scales(&map), expected);
    }

    #[test]
    fn other_settings_have_no_least() {
        let (layout, data) = weights(SIZES);
        for other in [
            Settings::new(Quantizer::Naive, 8),
            settings(Quantizer::Qat, 9, true),
            settings(Quantizer::DoReFa, 8, true),
        ] {
            assert!(!has_floor(&other));
            let ranges = weight_ranges(&other, layout, &biases(&BIASES), &data[..]);
            assert_eq!(ranges, observe_ranges(layout, &data[..]));
        }
    }

    #[test]
    fn the_largest_bias_of_a_channel_counts() {
        let mut found = biases(&[1.0, -2.0, f32::NAN, f32::INFINITY, 0.5, 0.0]);
        found.add(&[0.25_f32][..]);
        assert_eq!(found, Biases(vec![1.0, 2.0, 0.25, 0.25, 0.5, 0.25]));
        // Two groups that share the channels of a weight.
        found.add(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -3.0, 0.0, 0.0, 0.0][..]);
        assert_eq!(found, Biases(vec![1.0, 2.0, 3.0, 0.25, 0.5, 0.25]));
        for no_bias in [&[][..], &[9.0; 4], &[9.0; 7]] {
            found.add(no_bias);
        }
        assert_eq!(found, Biases(vec![1.0, 2.0, 3.0, 0.25, 0.5, 0.25]));
        assert!(Biases::none(3).is_empty() && Biases::default().is_empty() && !found.is_empty());
    }
}
