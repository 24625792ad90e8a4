//! What a map costs, without keeping its values.

use rayon::prelude::*;

use crate::WeightData;
use crate::metrics::{Lanes, Metrics, MetricsAccumulator};
use crate::simd::chunks;
use crate::weights::WeightMap;

/// Elements whose values are made and measured before the next: both stay in the nearest cache.
const BLOCK: usize = 1024;

/// How far the values of `map` are from `data`. Parallel; the same bits at any number of threads.
pub fn measure<D: WeightData + ?Sized>(map: &WeightMap, data: &D) -> Metrics {
    let of_chunk = |span: std::ops::Range<usize>| of_chunk(map, span.start, &data.chunk(span));
    let parts: Vec<MetricsAccumulator> = chunks(data.len()).map(of_chunk).collect();
    let mut sums = MetricsAccumulator::default();
    for part in &parts {
        sums.merge(part);
    }
    sums.finish()
}

fn of_chunk(map: &WeightMap, offset: usize, reference: &[f32]) -> MetricsAccumulator {
    let mut lanes = Lanes::default();
    if let WeightMap::Affine(map) = map {
        map.measure(offset, reference, &mut lanes);
        return lanes.sums();
    }
    let mut values = [0.0; BLOCK];
    for (number, reference) in reference.chunks(BLOCK).enumerate() {
        let values = values.get_mut(..reference.len()).unwrap_or_default();
        map.values_into(offset + number * BLOCK, reference, values);
        lanes.add(reference, values);
    }
    lanes.sums()
}
