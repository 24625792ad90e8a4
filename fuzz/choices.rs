//! Bytes read as choices, so that what a fuzzer changes becomes another model and not another noise. The fuzz targets hand on what
//! libFuzzer invents, the crates' own tests a fixed number of bytes from fixed seeds.

/// A source of choices. When the bytes are used up every choice is the first one, so that what is made comes to an end.
#[derive(Debug)]
pub(crate) struct Choices<'a> {
    bytes: &'a [u8],
}

impl<'a> Choices<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let wide =
            if end > 256 { usize::from(self.byte()) << 8 | usize::from(self.byte()) } else { self.byte().into() };
        wide % end.max(1)
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) + 1 == times
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A short decimal, now and then one at the edge of what floats are.
    pub(crate) fn number(&mut self) -> String {
        match self.below(16) {
            0 => self.one_of(&["0", "-0.0", "1e-38", "3e38", "-3e38", "1e-45", "nan", "inf"]).to_owned(),
            _ => format!("{}.{}", i16::from(self.byte()) - 128, self.byte()),
        }
    }

    /// Change, remove, insert or repeat bytes.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1).min(bytes.len());
        let end = (at + 1 + self.below(8)).min(bytes.len());
        match self.below(4) {
            0 if at < bytes.len() => bytes[at] = self.byte(),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, self.byte()),
            _ => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

/// `length` bytes that look like noise, always the same for a seed (Steele, Lea and Flood's splitmix64).
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let words = length.div_ceil(8);
    let mut bytes: Vec<u8> = (0..words).flat_map(|_| next().to_le_bytes()).collect();
    bytes.truncate(length);
    bytes
}

/// Check `property` on `runs` inputs of growing length, from fixed seeds; a failure names its seed. `FUZZ_SECONDS` asks for as many as
/// fit into that time instead, from the seed `FUZZ_SEED` on, and goes on after a failure.
pub(crate) fn each_seed(runs: u64, longest: usize, property: impl Fn(&[u8])) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = variable("FUZZ_SEED").unwrap_or(0);
    let begun = std::time::Instant::now();
    let seconds = variable("FUZZ_SECONDS");
    let mut seed = first;
    let mut against = Vec::new();
    while seconds.map_or(seed - first < runs && against.is_empty(), |seconds| begun.elapsed().as_secs() < seconds) {
        // Shorter inputs make smaller models; every length comes in turn.
        let length = usize::try_from(seed % 64 + 1).unwrap_or(1) * longest / 64;
        let bytes = noise(seed, length);
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| property(&bytes))).is_err() {
            against.push(seed);
        }
        seed += 1;
    }
    if seconds.is_some() {
        println!("{} inputs in {} s", seed - first, begun.elapsed().as_secs());
    }
    assert!(against.is_empty(), "the property does not hold for {} seeds: {against:?}", against.len());
}
