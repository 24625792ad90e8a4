//! How far apart the ranges of a weight's channels are.

use crate::config::channels_pay;
use crate::plan::Settings;
use crate::quantizers::table::StepSource;
use crate::weights::{ChannelLayout, observe_ranges};
use crate::{MathError, Range, WeightData};

/// What one scale for the whole tensor asks of a weight: the largest absolute value of all over the median of the channels' largest
/// absolute values. Twice as much costs the channel in the middle a bit.
///
/// `None` where the question does not arise: with a scale per channel, for DoReFa (which has none), and for a weight whose channels do
/// not pay ([`channels_pay`]). Channels of zeros do not count, they are exact with any scale.
///
/// # Errors
///
/// Those of [`observe_ranges`].
pub fn channel_spread<D: WeightData + ?Sized>(
    settings: &Settings,
    channels: Option<ChannelLayout>,
    data: &D,
) -> Result<Option<f32>, MathError> {
    match asked(settings, channels) {
        Some(layout) => Ok(spread(&observe_ranges(layout, data)?)),
        None => Ok(None),
    }
}

/// `channels`, where the question arises.
pub(super) fn asked(settings: &Settings, channels: Option<ChannelLayout>) -> Option<ChannelLayout> {
    let asked = settings.channel_axis.is_none() && settings.quantizer.row().steps == StepSource::Range;
    channels.filter(|layout| asked && channels_pay(layout.len() as u64, layout.channels as u64))
}

pub(super) fn spread(ranges: &[Range]) -> Option<f32> {
    let mut largest: Vec<f32> = ranges.iter().map(|range| range.max.max(-range.min)).filter(|m| *m > 0.0).collect();
    largest.sort_by(f32::total_cmp);
    let (median, last) = (largest.get(largest.len() / 2)?, largest.last()?);
    Some(last / median)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quantizer;
    use crate::weights::{Biases, observe, observe_with_spread};

    #[test]
    fn the_largest_channel_is_held_against_the_one_in_the_middle() {
        let settings = Settings::new(Quantizer::Naive, 8);
        // Columns of 1, 2, 0 and -16.
        let data: Vec<f32> = [1.0_f32, 2.0, 0.0, -16.0].repeat(3);
        let channels = ChannelLayout::per_channel(&[3, 4], 1).unwrap();
        assert_eq!(channel_spread(&settings, Some(channels), &data[..]), Ok(Some(8.0)));
        assert_eq!(channel_spread(&settings, None, &data[..]), Ok(None));
        let small = ChannelLayout::per_channel(&[2, 6], 1).unwrap();
        assert_eq!(channel_spread(&settings, Some(small), &data[..]), Ok(None), "channels of two elements");
        for other in [Settings { channel_axis: Some(1), ..settings }, Settings::new(Quantizer::DoReFa, 8)] {
            assert_eq!(channel_spread(&other, Some(channels), &data[..]), Ok(None));
        }
        let whole = ChannelLayout::per_tensor(12);
        for settings in [settings, Settings { symmetric: false, ..settings }, Settings::new(Quantizer::DoReFa, 8)] {
            for channels in [None, Some(channels), Some(small)] {
                let none = Biases::default();
                let (map, spread) = observe_with_spread(&settings, whole, &none, channels, &data[..]).unwrap();
                assert_eq!(map, observe(&settings, whole, &data[..]).unwrap());
                assert_eq!(Ok(spread), channel_spread(&settings, channels, &data[..]));
            }
        }
        assert_eq!(channel_spread(&settings, Some(channels), &[0.0_f32; 12][..]), Ok(None), "zeros alone");
    }
}
