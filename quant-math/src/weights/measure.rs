//! What a map costs, without keeping its values.

use rayon::prelude::*;

use crate::WeightData;
use crate::metrics::{Metrics, MetricsAccumulator};
use crate::simd::chunks;
use crate::weights::WeightMap;

/// How far the values of `map` are from `data`. Parallel; the same bits at any number of threads.
pub fn measure<D: WeightData + ?Sized>(map: &WeightMap, data: &D) -> Metrics {
    let of_chunk = |span: std::ops::Range<usize>| {
        let reference = data.chunk(span.clone());
        let mut values = vec![0.0; reference.len()];
        map.values_into(span.start, &reference, &mut values);
        let mut sums = MetricsAccumulator::default();
        sums.update(&reference, &values);
        sums
    };
    let parts: Vec<MetricsAccumulator> = chunks(data.len()).map(of_chunk).collect();
    let mut sums = MetricsAccumulator::default();
    for part in &parts {
        sums.merge(part);
    }
    sums.finish()
}
