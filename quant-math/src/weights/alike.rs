//! Sites of one weight that are quantized alike are looked at once.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::plan::{Quantizer, Settings};
use crate::quantizers::lsq;
use crate::weights::{Biases, ChannelLayout, WeightMap, observe_with_spread};
use crate::{MathError, Rounding, WeightData};

/// All that makes the map of a weight besides its values: sites of one weight with equal ways have one map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    quantizer: Quantizer,
    bits: u32,
    symmetric: bool,
    rounding: Rounding,
    layout: ChannelLayout,
    /// The bits of the steps that were learnt.
    steps: Option<Vec<u32>>,
}

impl Way {
    /// The way of a site with these settings, whose channels lie so, and with the steps that were learnt, where some were.
    pub fn new(settings: &Settings, layout: ChannelLayout, steps: Option<&[f32]>) -> Self {
        let Settings { quantizer, bits, symmetric, rounding, .. } = *settings;
        let steps = steps.map(|steps| steps.iter().map(|step| step.to_bits()).collect());
        Self { quantizer, bits, symmetric, rounding, layout, steps }
    }
}

/// What is looked for in a weight, besides its values.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// How it is quantized.
    pub settings: &'a Settings,
    /// Which elements share a scale.
    pub layout: ChannelLayout,
    /// LSQ: the steps that were learnt, one for each channel of `layout`.
    pub steps: Option<&'a [f32]>,
    /// What is added to the channels of what the weight makes.
    pub biases: &'a Biases,
    /// Its channels, also where one scale serves all.
    pub channels: Option<ChannelLayout>,
}

impl Look<'_> {
    /// The map of a weight, by its steps where they were learnt, else by its values ([`observe_with_spread`], whose second part it gives too).
    ///
    /// # Errors
    /// Those of [`observe_with_spread`] and of [`lsq::learnt`].
    pub fn at<D: WeightData + ?Sized>(&self, data: &D) -> Result<(WeightMap, Option<f32>), MathError> {
        match self.steps {
            Some(steps) => lsq::learnt(self.settings, self.layout, steps, data).map(|map| (map, None)),
            None => observe_with_spread(self.settings, self.layout, self.biases, self.channels, data),
        }
    }
}

/// Sites, each with the number of those that are like it and with what a look at them has shown.
pub type Seen<S, T> = Vec<(S, usize, T)>;

/// Look at sites, once for all that have the same `key`, in parallel. `look` gets all of them, the first one first: what is added to the
/// channels of one counts for each, since they share a scale.
///
/// # Errors
/// Those of `look`.
pub fn look_once<S: Sync, K: Ord, T: Clone + Send, E: Send>(
    sites: Vec<(K, S)>,
    look: impl Fn(&S, &[&S]) -> Result<T, E> + Sync,
) -> Result<Seen<S, T>, E> {
    let mut numbers: BTreeMap<K, usize> = BTreeMap::new();
    let mut numbered = Vec::with_capacity(sites.len());
    for (key, site) in sites {
        let next = numbers.len();
        numbered.push((site, *numbers.entry(key).or_insert(next)));
    }
    let mut alike: Vec<Vec<&S>> = vec![Vec::new(); numbers.len()];
    for (site, number) in &numbered {
        if let Some(alike) = alike.get_mut(*number) {
            alike.push(site);
        }
    }
    let looks = alike.par_iter().filter_map(|alike| Some(look(alike.first()?, alike)));
    let shown: Vec<T> = looks.collect::<Result<_, E>>()?;
    Ok(numbered.into_iter().filter_map(|(site, number)| Some((site, number, shown.get(number)?.clone()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_that_are_alike_are_looked_at_once_and_together() {
        let layout = ChannelLayout::per_tensor(4);
        let settings = Settings::new(Quantizer::Naive, 8);
        let way = |bits, steps| Way::new(&Settings { bits, entry: 3, ..settings }, layout, steps);
        let sites = [(way(8, None), 'a'), (way(4, None), 'b'), (way(8, None), 'c'), (way(8, Some(&[0.5][..])), 'd')];
        let seen = look_once(sites.to_vec(), |first, all| {
            assert_eq!(Some(first), all.first().copied());
            Ok::<String, MathError>(all.iter().copied().collect())
        });
        let seen = seen.unwrap();
        let shown: Vec<_> = seen.iter().map(|(site, number, shown)| (*site, *number, shown.as_str())).collect();
        assert_eq!(shown, [('a', 0, "ac"), ('b', 1, "b"), ('c', 0, "ac"), ('d', 2, "d")]);
        assert_eq!(look_once(sites.to_vec(), |_, _| Err::<(), _>(MathError::Empty)), Err(MathError::Empty));
    }
}
