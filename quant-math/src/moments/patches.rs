//! The rows that a convolution multiplies with its weight: what its window sees at each place (im2col).

use crate::moments::Inputs;

/// In which order the inputs of an output stand in the weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The places of the window, and the channels of each: TensorFlow's `[H, W, in, out]`.
    PlacesFirst,
    /// The channels, and the places of each: PyTorch's `[out, in, H, W]`.
    ChannelsFirst,
}

/// Where a convolution's window stands, and how its tensor lies in memory. Lists have one entry for each spatial dimension, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patches {
    /// Channels of the tensor.
    pub channels: usize,
    /// Groups of channels: each output reads those of its own group.
    pub groups: usize,
    /// Elements from a channel to the next.
    pub channel_step: usize,
    /// Samples.
    pub samples: usize,
    /// Elements from a sample to the next.
    pub sample_step: usize,
    /// The sizes of the tensor.
    pub sizes: Vec<usize>,
    /// Elements from a place to the next.
    pub place_steps: Vec<usize>,
    /// The window.
    pub window: Vec<usize>,
    /// How far the window moves.
    pub strides: Vec<usize>,
    /// How far its places are from each other.
    pub dilations: Vec<usize>,
    /// Zeros before the first element.
    pub before: Vec<usize>,
    /// The sizes of the output.
    pub outputs: Vec<usize>,
    /// How inputs stand in the weight.
    pub order: Order,
}

impl Patches {
    /// How many inputs an output reads.
    pub fn inputs(&self) -> Inputs {
        let groups = self.groups.max(1);
        let places = self.window.iter().fold(1, |n: usize, size| n.saturating_mul(*size));
        Inputs { groups, inputs: (self.channels / groups).saturating_mul(places) }
    }

    /// Elements of the tensor.
    pub fn elements(&self) -> usize {
        let places = self.sizes.iter().fold(1, |n: usize, size| n.saturating_mul(*size));
        self.samples.saturating_mul(self.channels).saturating_mul(places)
    }

    /// Rows of a sample.
    pub fn rows(&self) -> usize {
        self.outputs.iter().fold(1, |n: usize, size| n.saturating_mul(*size))
    }

    /// Row `number` of a sample into `row`, group by group; what lies outside of the tensor is 0. `tensor` begins with the sample.
    pub fn row(&self, tensor: &[f32], number: usize, row: &mut [f32]) {
        let Inputs { groups, inputs } = self.inputs();
        let own = self.channels / groups;
        row.fill(0.0);
        let mut at = vec![0; self.outputs.len()];
        let mut rest = number;
        for (at, size) in at.iter_mut().zip(&self.outputs).rev() {
            (*at, rest) = (rest % (*size).max(1), rest / (*size).max(1));
        }
        let places = inputs.checked_div(own).unwrap_or(0);
        for place in 0..places {
            let Some(from) = self.element(&at, place) else { continue };
            for group in 0..groups {
                for channel in 0..own {
                    let element = tensor.get(from + (group * own + channel) * self.channel_step);
                    let to = group * inputs
                        + match self.order {
                            Order::PlacesFirst => place * own + channel,
                            Order::ChannelsFirst => channel * places + place,
                        };
                    if let (Some(element), Some(to)) = (element, row.get_mut(to)) {
                        *to = *element;
                    }
                }
            }
        }
    }

    /// The element of the first channel that the window at `at` sees at `place`. `None` outside of the tensor.
    fn element(&self, at: &[usize], mut place: usize) -> Option<usize> {
        let mut element = 0;
        let dims = self.window.iter().zip(&self.strides).zip(&self.dilations).zip(&self.before);
        let dims = dims.zip(self.sizes.iter().zip(&self.place_steps)).zip(at);
        for (((((window, stride), dilation), before), (size, step)), at) in dims.rev() {
            let within = place % (*window).max(1);
            place /= (*window).max(1);
            let position =
                at.checked_mul(*stride)?.checked_add(within.checked_mul(*dilation)?)?.checked_sub(*before)?;
            if position >= *size {
                return None;
            }
            element += position * step;
        }
        Some(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[1, 3, 4, 2]` of channels last, one group or two, as a window of 2×3 with stride 2 over the width sees it.
    fn patches(groups: usize, order: Order) -> Patches {
        Patches {
            channels: 2,
            groups,
            channel_step: 1,
            samples: 1,
            sample_step: 24,
            sizes: vec![3, 4],
            place_steps: vec![8, 2],
            window: vec![2, 3],
            strides: vec![1, 2],
            dilations: vec![2, 1],
            before: vec![1, 0],
            outputs: vec![3, 1],
            order,
        }
    }

    #[test]
    fn a_row_is_what_the_window_sees() {
        let tensor: Vec<f32> = (1..=24_u8).map(f32::from).collect();
        let mut row = vec![f32::NAN; 12];
        // The first: its upper places lie above the tensor, its lower ones in the second row.
        patches(1, Order::PlacesFirst).row(&tensor, 0, &mut row);
        assert_eq!(row, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0]);
        patches(1, Order::PlacesFirst).row(&tensor, 1, &mut row);
        assert_eq!(row, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 17.0, 18.0, 19.0, 20.0, 21.0, 22.0]);
        patches(1, Order::ChannelsFirst).row(&tensor, 1, &mut row);
        assert_eq!(row, [1.0, 3.0, 5.0, 17.0, 19.0, 21.0, 2.0, 4.0, 6.0, 18.0, 20.0, 22.0]);
        // Each channel by itself.
        for order in [Order::PlacesFirst, Order::ChannelsFirst] {
            patches(2, order).row(&tensor, 1, &mut row);
            assert_eq!(row, [1.0, 3.0, 5.0, 17.0, 19.0, 21.0, 2.0, 4.0, 6.0, 18.0, 20.0, 22.0]);
        }
        // The last: its lower places lie below.
        patches(1, Order::PlacesFirst).row(&tensor, 2, &mut row);
        assert_eq!(row, [9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(patches(2, Order::PlacesFirst).inputs(), Inputs { groups: 2, inputs: 6 });
        assert_eq!(patches(1, Order::PlacesFirst).rows(), 3);
    }
}
